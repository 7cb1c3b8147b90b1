import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bytesOf } from '../../kernel/byte-stream.ts'
import type { WindowOperator } from './window-operator.ts'
import { ConfigError, StoreError } from '../../kernel/errors.ts'
import { crossCheckWindowsConfig, panesNeeded } from './config.ts'
import { Collected, reading, windowOperator, windowsConfig } from './window-testing.ts'

const T0 = 1_700_000_040_000 // a whole minute
const MINUTE = 60_000

type Step = { at: number; values: Record<string, number | boolean | string> } | { tick: number }

/** Two minutes of temperature out of order, a correction, silence, a return, and a reading that comes too late. */
const story: Step[] = [
  { at: T0 + 10_000, values: { temperature: 20, ok: true, mode: 'eco' } },
  { tick: T0 + 11_000 },
  { at: T0 + 30_000, values: { temperature: 24, ok: false } },
  { at: T0 + 20_000, values: { temperature: 22 } },
  { at: T0 + 20_000, values: { temperature: 21 } },
  { at: T0 + 70_000, values: { temperature: 30 } },
  { at: T0 + 59_999, values: { temperature: 26 } },
  { at: T0 + 66_000, values: { temperature: 31 } },
  { tick: T0 + 72_000 },
  { tick: T0 + 72_000 + MINUTE + 1 },
  { tick: T0 + 72_000 + 2 * MINUTE },
  { at: T0 + 80_000, values: { temperature: 33 } },
  { at: T0 + 190_000, values: { temperature: 40 } },
  { at: T0 + 10_000, values: { temperature: 1 } },
  { at: T0 + 15 * MINUTE, values: { temperature: 50 } },
  { at: T0 + 15_000, values: { temperature: 2 } },
]

/** Kind, start..end in minutes from T0, revision, count, min..max, mean, first→last, p95, what closed it. */
const golden = `
temperature tumbling 0..1 r1 n4 20..24 mean 21.75 20→24 p95 24 watermark
temperature hopping -4..1 r1 n4 20..24 mean 21.75 20→24 p95 24 watermark
ok tumbling 0..1 r1 n2 0..1 mean 0.5 1→0 p95 1 watermark
ok hopping -4..1 r1 n2 0..1 mean 0.5 1→0 p95 1 watermark
temperature tumbling 0..1 r2 n5 20..26 mean 22.6 20→26 p95 26 watermark
temperature hopping -4..1 r2 n5 20..26 mean 22.6 20→26 p95 26 watermark
temperature tumbling 1..2 r1 n2 30..31 mean 30.5 31→30 p95 31 idle
temperature hopping -3..2 r1 n7 20..31 mean 24.857 20→30 p95 31 idle
temperature hopping -2..3 r1 n7 20..31 mean 24.857 20→30 p95 31 idle
temperature hopping -1..4 r1 n7 20..31 mean 24.857 20→30 p95 31 idle
temperature hopping 0..5 r1 n7 20..31 mean 24.857 20→30 p95 31 idle
temperature hopping 1..6 r1 n2 30..31 mean 30.5 31→30 p95 31 idle
ok hopping -3..2 r1 n2 0..1 mean 0.5 1→0 p95 1 idle
ok hopping -2..3 r1 n2 0..1 mean 0.5 1→0 p95 1 idle
ok hopping -1..4 r1 n2 0..1 mean 0.5 1→0 p95 1 idle
ok hopping 0..5 r1 n2 0..1 mean 0.5 1→0 p95 1 idle
temperature tumbling 1..2 r2 n3 30..33 mean 31.333 31→33 p95 33 watermark
temperature hopping -3..2 r2 n8 20..33 mean 25.875 20→33 p95 33 watermark
temperature hopping -2..3 r2 n8 20..33 mean 25.875 20→33 p95 33 watermark
temperature hopping -2..3 r3 n9 1..33 mean 23.111 20→33 p95 33 watermark
temperature tumbling 3..4 r1 n1 40..40 mean 40 40→40 p95 40 watermark
temperature hopping -1..4 r2 n10 1..40 mean 24.8 20→40 p95 40 watermark
temperature hopping 0..5 r2 n10 1..40 mean 24.8 20→40 p95 40 watermark
temperature hopping 1..6 r2 n4 30..40 mean 33.5 31→40 p95 40 watermark
temperature hopping 2..7 r1 n1 40..40 mean 40 40→40 p95 40 watermark
temperature hopping 3..8 r1 n1 40..40 mean 40 40→40 p95 40 watermark
`

function tell(operator: WindowOperator, restoreBefore: (step: number) => boolean): Collected {
  const out = new Collected()
  let state = operator.create('default', 'pump-1')
  story.forEach((step, i) => {
    if (restoreBefore(i))
      state = operator.decode(
        bytesOf((into) => operator.encode(state, into)),
        operator.stateVersion,
      )
    if ('tick' in step) operator.tick(state, step.tick, out)
    else operator.apply(state, reading(step.at, step.values), out)
  })
  return out
}

function lines(out: Collected): string {
  const told = out.windows.map((w) => {
    const span = `${(w.startTs - T0) / MINUTE}..${(w.endTs - T0) / MINUTE}`
    return `${w.metric} ${w.kind} ${span} r${w.revision} n${w.count} ${w.min}..${w.max} mean ${+w.mean.toFixed(3)} ${w.first}→${w.last} p95 ${w.p95} ${w.closedBy}\n`
  })
  return `\n${told.join('')}`
}

describe('window operator', () => {
  it('emits the golden windows, also through a snapshot and restore before any or every step', () => {
    assert.equal(lines(tell(windowOperator(), () => false)), golden)
    assert.equal(lines(tell(windowOperator(), () => true)), golden)
    for (let at = 0; at < story.length; at++)
      assert.equal(lines(tell(windowOperator(), (step) => step === at)), golden, `restored before step ${at}`)
  })

  it('is deterministic: the same story gives the same windows and the same state, byte for byte', () => {
    const states = [1, 2].map(() => {
      const operator = windowOperator()
      const state = operator.create('default', 'pump-1')
      const out = new Collected()
      for (const step of story) if ('at' in step) operator.apply(state, reading(step.at, step.values), out)
      return { bytes: Buffer.from(bytesOf((into) => operator.encode(state, into))).toString('hex'), windows: JSON.stringify(out.windows) }
    })
    assert.deepEqual(states[0], states[1])
  })

  it('says how far behind the watermark a late reading was, and keeps it out of every window', () => {
    const out = tell(windowOperator(), () => false)
    assert.equal(out.late.length, 1)
    assert.equal(out.late[0]?.ts, T0 + 15_000)
    assert.equal(out.late[0]?.latenessMs, 15 * MINUTE - 5_000 - 15_000)
  })

  it('corrects a window until the watermark is its end and the allowed lateness, not a millisecond longer', () => {
    const windows = [{ kind: 'tumbling' as const, sizeMs: MINUTE, slideMs: MINUTE }]
    for (const [watermark, revisions, late] of [
      [T0 + MINUTE + 9_999, [1, 2], 0],
      [T0 + MINUTE + 10_000, [1], 1],
    ] as const) {
      const operator = windowOperator({ windows, outOfOrdernessMs: 0, allowedLatenessMs: 10_000 })
      const state = operator.create('default', 'pump-1')
      const out = new Collected()
      for (const ts of [T0, watermark, T0 + MINUTE - 1]) operator.apply(state, reading(ts, { temperature: 1 }), out)
      assert.deepEqual(
        out.windows.map((window) => window.revision),
        revisions,
      )
      assert.equal(out.late.length, late)
    }
  })

  it('closes by idleness only after the timeout, once, and not for a device that speaks', () => {
    const operator = windowOperator({ idleTimeoutMs: 10_000 })
    const out = new Collected()
    const state = operator.create('default', 'pump-1')
    operator.apply(state, reading(T0, { temperature: 1 }), out)
    assert.equal(operator.tick(state, 1_000, out), true)
    assert.equal(operator.tick(state, 11_000, out), false)
    operator.apply(state, reading(T0 + 1, { temperature: 2 }), out)
    assert.equal(operator.tick(state, 11_001, out), true)
    assert.equal(out.windows.length, 0)
    assert.equal(operator.tick(state, 21_002, out), true)
    assert.equal(out.windows.length, 6)
    assert.equal(operator.tick(state, 99_000, out), false)
    assert.equal(out.windows.length, 6)
  })

  it('is due when its timeout ends, counted from the tick that it would have had in memory', () => {
    const operator = windowOperator({ idleTimeoutMs: 10_000 })
    const out = new Collected()
    const state = operator.create('default', 'pump-1')
    assert.equal(operator.dueAt(state, 1_000), null)
    operator.apply(state, reading(T0, { temperature: 1 }), out)
    assert.deepEqual(operator.dueAt(state, 1_000), { dueMs: 11_001, sinceMs: 1_000 })
    operator.resume(state, 1_000)
    assert.deepEqual(operator.dueAt(state, 9_000), { dueMs: 11_001, sinceMs: 9_000 })
    assert.equal(operator.tick(state, 11_000, out), false)
    assert.equal(operator.tick(state, 11_001, out), true)
    assert.equal(out.windows.length, 6)
    assert.equal(operator.dueAt(state, 12_000), null)
  })

  it('holds bounded panes and metrics however event time jumps and names change', () => {
    const config = windowsConfig({ metricsMax: 3, allowedLatenessMs: 600_000 })
    const operator = windowOperator(config)
    const state = operator.create('default', 'pump-1')
    const out = new Collected()
    for (let i = 0; i < 5_000; i++) {
      const jumpMs = [1_000, 59_000, 3_600_000, -30_000, -1_000_000, 86_400_000 * 30][i % 6] as number
      operator.apply(state, reading(Math.max(T0, state.maxTs) + jumpMs, { [`m${i % 50}`]: i }), out)
      assert.ok(state.metrics.size <= 3)
      for (const metric of state.metrics.values()) assert.ok(metric.panes.length <= panesNeeded(config))
    }
    assert.ok(out.late.length > 0)
  })

  it('gives the place of a metric that went away to another one', () => {
    const operator = windowOperator({ metricsMax: 1 })
    const state = operator.create('default', 'pump-1')
    const out = new Collected()
    operator.apply(state, reading(T0, { old: 1 }), out)
    operator.apply(state, reading(T0 + 3_600_000, { new: 2 }), out)
    operator.apply(state, reading(T0 + 3_600_001, { new: 3 }), out)
    assert.deepEqual([...state.metrics.keys()], ['new'])
  })

  it('survives the extremes of numbers with finite figures', () => {
    const operator = windowOperator({ exactValuesMax: 2 })
    const state = operator.create('default', 'pump-1')
    const out = new Collected()
    for (const value of [1.7e308, -1.7e308, 1e-320, 0, -0, 1e200, 5]) operator.apply(state, reading(T0, { __proto__x: value }), out)
    operator.apply(state, reading(T0 + 3_600_000, { other: 1 }), out)
    assert.equal(out.windows.length, 6)
    for (const window of out.windows) {
      for (const figure of [window.mean, window.stddev, window.p95, window.min, window.max]) assert.ok(Number.isFinite(figure))
    }
  })

  it('drops open panes, keeps the clock, when the windows are configured anew', () => {
    const before = windowOperator()
    const state = before.create('default', 'pump-1')
    before.apply(state, reading(T0, { temperature: 1 }), new Collected())
    const after = windowOperator({ windows: [{ kind: 'tumbling', sizeMs: 7_000, slideMs: 7_000 }] })
    const restored = after.decode(
      bytesOf((into) => before.encode(state, into)),
      1,
    )
    assert.equal(restored.maxTs, T0)
    assert.equal(restored.metrics.size, 0)
  })

  it('refuses damaged and newer states', () => {
    const operator = windowOperator()
    const state = operator.create('default', 'pump-1')
    operator.apply(state, reading(T0, { temperature: 1 }), new Collected())
    const bytes = bytesOf((into) => operator.encode(state, into))
    assert.throws(
      () => operator.decode(bytes.subarray(0, bytes.length - 1), 1),
      (error) => error instanceof StoreError && error.code === 'STORE_CORRUPT',
    )
    assert.throws(
      () => operator.decode(bytes, 2),
      (error) => error instanceof StoreError && error.code === 'STORE_NEWER',
    )
  })
})

describe('windows configuration', () => {
  it('names every fault at once', () => {
    const windows = [
      { kind: 'tumbling' as const, sizeMs: 60_000, slideMs: 30_000 },
      { kind: 'hopping' as const, sizeMs: 100_000, slideMs: 30_000 },
      { kind: 'hopping' as const, sizeMs: 100_000, slideMs: 50_000 },
    ]
    const faults = crossCheckWindowsConfig(windowsConfig({ windows }), 'processing.windows')
    assert.deepEqual(
      faults.map((fault) => fault.key),
      ['processing.windows.windows.0.slideMs', 'processing.windows.windows.1.sizeMs', 'processing.windows.windows.2'],
    )
    assert.throws(() => windowOperator({ windows }), ConfigError)
  })

  it('refuses windows that need more panes than allowed', () => {
    const faults = crossCheckWindowsConfig(windowsConfig({ allowedLatenessMs: 86_400_000, panesMax: 100 }), 'windows')
    assert.match(faults[0]?.problem ?? '', /100 panes are too few: 1448 panes of 60000 ms/)
  })
})
