import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOf } from '../kernel/byte-stream.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import type { LoggedReading, MetricValue } from '../contracts/reading.ts'
import { Metrics } from '../kernel/metrics.ts'
import { gaussian, seededRandom, type Random } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import { AnomalyOperator } from './anomaly-operator.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from './config.ts'
import type { DeviceAnomalyState } from './device-anomaly-state.ts'

const START_TS = 1_400_000_000_000
const RECEIVED_AT = 1_763_680_000_000
const MINUTE_MS = 60_000

function configOf(overrides: Partial<AnomalyConfig> = {}): AnomalyConfig {
  const checked = compileSchema(AnomalyConfigSchema)(overrides)
  assert.ok(checked.status === 'valid')
  return checked.value
}

/** One device, its operator and all it said; readings are a minute of event time and a second of receive time apart. */
class Bench {
  readonly metrics = new Metrics()
  readonly operator: AnomalyOperator
  readonly anomalies: Anomaly[] = []
  readonly out = {
    emit: (_topic: string, _schema: string, _tenant: string, _device: string, value: object) => void this.anomalies.push(value as Anomaly),
  }
  state: DeviceAnomalyState
  offset = 0

  constructor(options: { config?: Partial<AnomalyConfig>; silenceAfterMs?: number | null } = {}) {
    const limitMs = options.silenceAfterMs === undefined ? null : options.silenceAfterMs
    this.operator = new AnomalyOperator({ config: configOf(options.config), silenceAfterMs: () => limitMs, metrics: this.metrics })
    this.state = this.operator.create('default', 'pump-1', 'pump')
  }
  say(values: Record<string, MetricValue>, at: Partial<LoggedReading> = {}): void {
    const offset = this.offset++
    const reading: LoggedReading = {
      tenant: 'default',
      device: 'pump-1',
      type: 'pump',
      receivedAt: RECEIVED_AT + offset * 1_000,
      correlationId: `c-${offset}`,
      ts: START_TS + offset * MINUTE_MS,
      values,
      partition: 3,
      offset,
      ...at,
    }
    this.operator.apply(this.state, reading, this.out)
  }
  sayAll(metric: string, values: readonly MetricValue[]): void {
    for (const value of values) this.say({ [metric]: value })
  }
  restart(): void {
    this.state = this.operator.decode(
      bytesOf((into) => this.operator.encode(this.state, into)),
      this.operator.stateVersion,
    )
  }
  phases(): string[] {
    return this.anomalies.map((anomaly) => `${anomaly.phase} ${anomaly.metric} ${anomaly.cause}`)
  }
}

function noise(length: number, around = 20, seed = 1): number[] {
  const random = seededRandom(seed)
  return Array.from({ length }, () => around + gaussian(random))
}

test('a shift is raised once, explained, and cleared when readings have been normal for long enough', () => {
  const bench = new Bench()
  bench.sayAll('temperature', [...noise(1_000), ...noise(30, 60, 2), ...noise(400, 20, 3)])
  assert.deepEqual(bench.phases(), ['raised temperature value', 'cleared temperature value'])
  const [raised, cleared] = bench.anomalies
  assert.ok(raised && cleared)
  assert.equal(raised.ts, START_TS + 1_000 * MINUTE_MS)
  assert.deepEqual([raised.partition, raised.offset, raised.correlationId, raised.severity], [3, 1_000, 'c-1000', 'critical'])
  assert.ok(raised.score >= 0.85 && raised.score <= 1)
  assert.match(
    raised.explanation.text,
    /^temperature \d\d\.\d is [\d.]+ spreads above the expected \d\d(\.\d)? \(normal between [\d.]+ and [\d.]+\); the reading, [\d.]+, was never nearer to this than [\d.]+; 1000 readings seen$/,
  )
  const { wouldBeNormal, observed, expected } = raised.explanation
  assert.ok(typeof wouldBeNormal === 'number' && observed !== null && expected !== null)
  assert.ok(wouldBeNormal > expected && wouldBeNormal < observed)
  assert.equal(cleared.explanation.wouldBeNormal, undefined)
  assert.match(cleared.explanation.text, /^temperature has been normal for 60 readings: /)
  assert.notEqual(raised.id, cleared.id)
})

test('the value said to have been normal raises nothing in its place, and one a little further does', () => {
  const first = new Bench()
  first.sayAll('temperature', [...noise(1_000), 60])
  const wouldBeNormal = first.anomalies[0]?.explanation.wouldBeNormal
  assert.ok(typeof wouldBeNormal === 'number')
  for (const [further, raised] of [
    [0, 0],
    [0.01, 1],
  ] as const) {
    const bench = new Bench()
    bench.sayAll('temperature', [...noise(1_000), wouldBeNormal + further])
    assert.equal(bench.anomalies.length, raised)
  }
})

test('a fast series stays one anomaly while abnormal readings come back within the time that normal must last', () => {
  const bench = new Bench()
  const random = seededRandom(5)
  const sayFast = (value: number): void => bench.say({ speed: value }, { ts: START_TS + bench.offset })
  for (let i = 0; i < 2_000; i++) sayFast(20 + gaussian(random))
  for (let burst = 0; burst < 5; burst++) {
    for (let i = 0; i < 3; i++) sayFast(300)
    for (let i = 0; i < 900; i++) sayFast(20 + gaussian(random))
    if (burst === 2) bench.restart()
  }
  assert.deepEqual(bench.phases(), ['raised speed value'])
  for (let i = 0; i < 11_000; i++) sayFast(20 + gaussian(random))
  assert.deepEqual(bench.phases().slice(0, 2), ['raised speed value', 'cleared speed value'])
  assert.ok((bench.anomalies[1]?.ts ?? 0) - START_TS > 2_000 + 4 * 903 + 10_000 - 1)
})

test('a clock that is set back does not keep an anomaly open', () => {
  const bench = new Bench()
  bench.sayAll('temperature', [...noise(1_000), ...noise(3, 90, 2)])
  for (const value of noise(200, 20, 3)) bench.say({ temperature: value }, { ts: START_TS - 1_000_000_000 + bench.offset * 1_000 })
  assert.deepEqual(bench.phases(), ['raised temperature value', 'cleared temperature value'])
})

test('a series that is still being learnt raises nothing', () => {
  const bench = new Bench()
  bench.sayAll('temperature', [...noise(100), 500, ...noise(20)])
  assert.deepEqual(bench.anomalies, [])
})

test('the same log gives the same anomalies, ids included, with a restart at any place', () => {
  const values = [...noise(600), 90, ...noise(200, 20, 5), ...noise(100, 45, 6), ...noise(300, 20, 7)]
  const whole = new Bench()
  whole.sayAll('temperature', values)
  for (const cut of [0, 1, 300, 601, 850]) {
    const restarted = new Bench()
    restarted.sayAll('temperature', values.slice(0, cut))
    restarted.restart()
    restarted.sayAll('temperature', values.slice(cut))
    assert.deepEqual(restarted.anomalies, whole.anomalies)
    assert.deepEqual(
      bytesOf((into) => restarted.operator.encode(restarted.state, into)),
      bytesOf((into) => whole.operator.encode(whole.state, into)),
    )
  }
  assert.ok(whole.anomalies.length >= 2)
})

test('metrics are scored apart: one that comes later, one that stays away, switches and words', () => {
  const bench = new Bench()
  const temperatures = noise(900)
  temperatures.forEach((temperature, i) =>
    bench.say({ temperature, ...(i > 300 ? { pressure: 5 + temperature / 100 } : {}), ...(i % 2 === 0 ? { ok: true, mode: 'eco' } : {}) }),
  )
  bench.say({ ok: false, mode: 'turbo' })
  bench.say({ pressure: 50 })
  assert.deepEqual(bench.phases().sort(), ['raised mode value', 'raised ok value', 'raised pressure value'])
})

test('a metric whose values change their kind is learnt anew; strange numbers do not throw', () => {
  const bench = new Bench()
  bench.sayAll('mode', [...noise(200), ...Array<string>(200).fill('eco'), Number.NaN, 1e300, -1e300, Infinity, true, 'eco'])
  for (const anomaly of bench.anomalies) assert.ok(Number.isFinite(anomaly.score))
  bench.restart()
  bench.sayAll('mode', ['eco'])
})

test('metrics beyond the bound are counted, not scored', async () => {
  const bench = new Bench({ config: { metricsPerDeviceMax: 2 } })
  bench.say({ a: 1, b: 2, c: 3, d: 4 })
  assert.deepEqual([...bench.state.metrics.keys()], ['a', 'b'])
  assert.match(await bench.metrics.registry.metrics(), /fleetpulse_anomaly_unscored_values_total 2/)
})

test('state bytes of another version or shape are refused', () => {
  const { operator, state } = new Bench()
  assert.throws(
    () =>
      operator.decode(
        bytesOf((into) => operator.encode(state, into)),
        operator.stateVersion + 1,
      ),
    { code: 'INVALID_INPUT' },
  )
  assert.throws(() => operator.decode(new Uint8Array([9, 9]), operator.stateVersion), { code: 'INVALID_INPUT' })
})

test('what the fast tier alone had learnt, as in states of version 1, is taken over by the ensemble', () => {
  const before = new Bench({ config: { ensemble: false } })
  before.sayAll('temperature', noise(600))
  const bench = new Bench()
  bench.state = bench.operator.decode(
    bytesOf((into) => before.operator.encode(before.state, into)),
    1,
  )
  bench.offset = before.offset
  bench.sayAll('temperature', [...noise(200, 20, 2), 90])
  assert.deepEqual(bench.phases(), ['raised temperature value'])
  assert.equal(bench.anomalies[0]?.explanation.readingsSeen, 800)
})

test('silence set for the type: raised once after the limit, cleared by the next reading, in receive time', () => {
  const bench = new Bench({ silenceAfterMs: 5_000 })
  bench.say({ a: 1 })
  assert.equal(bench.operator.tick(bench.state, RECEIVED_AT + 5_000, bench.out), false)
  assert.equal(bench.operator.tick(bench.state, RECEIVED_AT + 5_500, bench.out), true)
  assert.equal(bench.operator.tick(bench.state, RECEIVED_AT + 9_000, bench.out), false)
  bench.restart()
  assert.equal(bench.operator.tick(bench.state, RECEIVED_AT + 90_000, bench.out), false)
  bench.say({ a: 1 }, { receivedAt: RECEIVED_AT + 130_000 })
  assert.deepEqual(bench.phases(), ['raised  silence', 'cleared  silence'])
  const [raised, cleared] = bench.anomalies
  assert.ok(raised && cleared)
  assert.deepEqual(
    [raised.ts, raised.receivedAt, raised.offset, raised.correlationId],
    [RECEIVED_AT + 5_000, RECEIVED_AT + 5_500, 0, 'c-0'],
  )
  assert.equal(
    raised.explanation.text,
    'nothing received for 5.5 s, more than the 5 s after which this device counts as silent (set for its type)',
  )
  assert.equal(cleared.explanation.text, 'heard again after 2.17 min')
})

test('silence is off with 0, and learnt from the device otherwise, within its bounds', () => {
  const off = new Bench({ silenceAfterMs: 0 })
  off.say({ a: 1 })
  off.operator.tick(off.state, RECEIVED_AT + 1e9, off.out)
  assert.deepEqual(off.anomalies, [])

  const learnt = new Bench({ config: { silenceMinMs: 2_000, silenceFactor: 5 } })
  for (let i = 0; i < 20; i++) learnt.say({ a: i })
  const last = RECEIVED_AT + 19_000
  learnt.operator.tick(learnt.state, last + 1_000, learnt.out)
  learnt.operator.tick(learnt.state, last + 5_000, learnt.out)
  assert.equal(learnt.anomalies.length, 0)
  learnt.operator.tick(learnt.state, last + 5_001, learnt.out)
  assert.deepEqual(learnt.phases(), ['raised  silence'])
  assert.match(learnt.anomalies[0]?.explanation.text ?? '', /learnt: its longest usual gap is 1 s\)$/)
})

test('a platform that was down, or is behind with the log, does not call its devices silent', () => {
  const bench = new Bench({ silenceAfterMs: 5_000 })
  bench.say({ a: 1 })
  bench.restart()
  const later = RECEIVED_AT + 3_600_000
  assert.equal(bench.operator.tick(bench.state, later, bench.out), false)
  bench.say({ a: 1 })
  assert.equal(bench.operator.tick(bench.state, later + 4_000, bench.out), false)
  assert.equal(bench.operator.tick(bench.state, later + 9_000, bench.out), false)
  assert.equal(bench.operator.tick(bench.state, later + 9_001, bench.out), true)
})

test('a device that leaves memory is due at its limit, and counts on from where it did when it is read again', () => {
  const bench = new Bench({ silenceAfterMs: 5_000 })
  assert.equal(bench.operator.dueAt(bench.state, RECEIVED_AT), null, 'nothing was ever received')
  bench.say({ a: 1 })
  assert.deepEqual(bench.operator.dueAt(bench.state, RECEIVED_AT + 4_000), { dueMs: RECEIVED_AT + 5_001, sinceMs: RECEIVED_AT })
  // Its last reading is old when this process first looks at it.
  bench.restart()
  const later = RECEIVED_AT + 3_600_000
  bench.operator.tick(bench.state, later, bench.out)
  const due = { dueMs: later + 5_001, sinceMs: later }
  assert.deepEqual(bench.operator.dueAt(bench.state, later + 3_000), due)
  bench.restart()
  bench.operator.resume(bench.state, due.sinceMs)
  assert.deepEqual(bench.operator.dueAt(bench.state, later + 4_000), due)
  assert.equal(bench.operator.tick(bench.state, due.dueMs - 1, bench.out), false)
  assert.equal(bench.operator.tick(bench.state, due.dueMs, bench.out), true)
  assert.equal(bench.operator.dueAt(bench.state, due.dueMs), null, 'it is silent already')
})

/** Load of a group of servers: peaks every five hours; then the group is misconfigured and the load runs higher and unruly. */
function serverLoad(readings: number, brokenFrom: number, random: Random): number[] {
  return Array.from({ length: readings }, (_, i) => {
    const phase = i % 60
    if (i >= brokenFrom) return Math.max(10, 57 + 14 * gaussian(random))
    return phase < 12 ? 100 - 5 * phase + 6 * gaussian(random) : 31 + gaussian(random)
  })
}

test('a recording of years ago, replayed at once: the misconfiguration is raised within its window, few before it', () => {
  const bench = new Bench({ silenceAfterMs: 60_000 })
  const brokenFrom = 12_000
  serverLoad(13_500, brokenFrom, seededRandom(11)).forEach((cpu, i) => {
    bench.say({ cpu }, { ts: START_TS + i * 5 * MINUTE_MS, receivedAt: RECEIVED_AT + i })
    if (i % 1_000 === 0) bench.operator.tick(bench.state, RECEIVED_AT + i, bench.out)
  })
  const raised = bench.anomalies.filter((anomaly) => anomaly.phase === 'raised')
  const inWindow = raised.filter((anomaly) => anomaly.ts >= START_TS + brokenFrom * 5 * MINUTE_MS)
  assert.ok(inWindow.length >= 1)
  assert.ok(raised.length - inWindow.length <= 3, `${raised.length - inWindow.length} before it`)
  assert.ok(raised.every((anomaly) => anomaly.cause === 'value'))
})
