import assert from 'node:assert/strict'
import { describe, it, test } from 'node:test'
import { TOPICS } from '../../contracts/topics.ts'
import { bytesOf } from '../../kernel/byte-stream.ts'
import type { DeviceRules } from './device-rules.ts'
import type { RuleOperator } from './rule-operator.ts'
import type { RuleSettings } from './rule.ts'
import { KnownRules, onWindow, readingAt, ruleOf, ruleOperator, settings, Statements, T0, windowAt } from './rules-testing.ts'

type Step = [seconds: number, value: number | boolean | string]

/** What one rule says of these values, in the order of the log. */
function saidOf(rule: Partial<RuleSettings>, steps: readonly Step[]): Statements {
  const operator = ruleOperator(new KnownRules(ruleOf('r1', { settings: settings(rule) })))
  const state = operator.create('default', 'pump-1', 'pump')
  const out = new Statements()
  for (const [seconds, value] of steps) operator.apply(state, readingAt(seconds, value), out)
  return out
}

describe('a rule on readings', () => {
  it('is raised when a value passes the limit and cleared when it is back, with hysteresis', () => {
    const steps: Step[] = [
      [0, 80],
      [1, 80.1],
      [2, 76],
      [3, 75.1],
      [4, 75],
      [5, 79],
      [6, 81],
    ]
    assert.deepEqual(saidOf({ clear: 75 }, steps).brief, ['+1', '-4', '+6'])
    assert.deepEqual(saidOf({}, steps).brief, ['+1', '-2', '+6'])
    const below = steps.map(([at, value]): Step => [at, -Number(value)])
    assert.deepEqual(saidOf({ is: 'below', raise: -80, clear: -75 }, below).brief, ['+1', '-4', '+6'])
  })

  it('compares text and switches, and passes over values of another kind', () => {
    assert.deepEqual(
      saidOf({ is: 'equal', raise: 'fault' }, [
        [0, 'ok'],
        [1, 'fault'],
        [2, 'fault'],
        [3, 'ok'],
      ]).brief,
      ['+1', '-3'],
    )
    assert.deepEqual(
      saidOf({ is: 'not-equal', raise: true }, [
        [0, true],
        [1, false],
        [2, true],
      ]).brief,
      ['+1', '-2'],
    )
    assert.deepEqual(
      saidOf({ raise: 0.5 }, [
        [0, true],
        [1, 'broken'],
        [2, false],
      ]).brief,
      ['+0', '-2'],
    )
  })

  it('waits for its duration in event time, and begins anew when the value was fine in between', () => {
    const rule = { forMs: 10_000 }
    assert.deepEqual(
      saidOf(rule, [
        [0, 81],
        [9, 81],
        [10, 90],
      ]).brief,
      ['+10'],
    )
    assert.deepEqual(
      saidOf(rule, [
        [0, 81],
        [5, 20],
        [6, 81],
        [15, 81],
        [16, 81],
      ]).brief,
      ['+16'],
    )
    const [{ evidence } = { evidence: undefined }] = saidOf(rule, [
      [0, 81],
      [9, 81],
      [10, 90],
    ]).all
    assert.deepEqual(
      evidence?.readings.map(({ ts, value, offset }) => [ts, value, offset]),
      [
        [T0, 81, 0],
        [T0 + 10_000, 90, 10],
      ],
    )
    assert.deepEqual([evidence?.window?.kind, evidence?.window?.startTs, evidence?.window?.endTs], ['span', T0, T0 + 10_000])
  })

  it('takes an overtaken value for what it was in its time', () => {
    assert.deepEqual(
      saidOf({}, [
        [10, 20],
        [5, 99],
        [11, 20],
      ]).brief,
      ['+5', '-11'],
      'a peak that came late',
    )
    assert.deepEqual(
      saidOf({}, [
        [10, 99],
        [5, 20],
        [11, 99],
      ]).brief,
      ['+10'],
      'it clears nothing',
    )
    assert.deepEqual(
      saidOf({ forMs: 10_000 }, [
        [0, 81],
        [9, 81],
        [5, 20],
        [10, 81],
      ]).brief,
      [],
      'it interrupts a duration',
    )
    assert.deepEqual(
      saidOf({ forMs: 10_000 }, [
        [100, 20],
        [50, 81],
        [110, 81],
      ]).brief,
      [],
      'it begins none',
    )
  })

  it('says again that it goes on, so that an alert that was resolved too early opens anew', () => {
    const steps = Array.from({ length: 11 }, (_, i): Step => [i * 60, 90])
    assert.deepEqual(saidOf({}, steps).brief, ['+0', '+300', '+600'])
  })

  it('carries its evidence: readings with their places, span, versions, bounds, and what to do', () => {
    const [said] = saidOf({ severity: 'critical', clear: 70, summary: 'The line may burst.', remedy: 'Open valve 3.' }, [[7, 90]]).all
    assert.deepEqual(said?.evidence, {
      readings: [{ device: 'pump-1', metric: 'pressure', topic: TOPICS.readings, ts: T0 + 7_000, value: 90, partition: 0, offset: 7 }],
      window: { kind: 'span', startTs: T0 + 7_000, endTs: T0 + 7_000, id: null, revision: null, aggregate: null, value: null },
      versions: { detector: 'rule', detectorVersion: 1, rule: 'r1', ruleVersion: 1 },
    })
    assert.deepEqual(said?.rule, { id: 'r1', version: 1, name: 'too high', summary: 'The line may burst.', remedy: 'Open valve 3.' })
    const { text, observed, high, low } = said?.explanation ?? {}
    assert.deepEqual([text, observed, high, low], ['The line may burst: pressure is 90, above 80', 90, 70, null])
    assert.deepEqual([said?.severity, said?.cause, said?.correlationId], ['critical', 'rule', 'c'])
  })

  it('concerns the devices that its matchers name', () => {
    const rules = new KnownRules(
      ruleOf('r1', {
        settings: settings({
          matchers: [
            { label: 'site', is: 'north' },
            { label: 'type', like: 'pu*' },
          ],
        }),
      }),
    )
    let labels: Record<string, string> = { site: 'north' }
    const operator = ruleOperator(rules, { labelsOf: () => labels })
    const out = new Statements()
    const state = operator.create('default', 'pump-1', 'pump')
    operator.apply(state, readingAt(0, 90, { type: 'fan' }), out)
    assert.deepEqual(out.brief, [], 'another type')
    operator.apply(state, readingAt(1, 90), out)
    labels = { site: 'south' }
    operator.apply(state, readingAt(2, 90), out)
    assert.deepEqual(out.brief, ['+1', '-1'], 'moved away')
    assert.match(out.all[1]?.explanation.text ?? '', /no longer concerns/)
    operator.apply(operator.create('other', 'pump-1', 'pump'), readingAt(3, 90, { tenant: 'other' }), out)
    assert.equal(out.all.length, 2, 'another tenant')
  })
})

describe('a rule that changes', () => {
  it('judges each reading by the version of its receipt, and keeps what was told unless the new version says otherwise', () => {
    const rules = new KnownRules(ruleOf('r1', { settings: settings() }))
    const operator = ruleOperator(rules)
    const state = operator.create('default', 'pump-1', 'pump')
    const out = new Statements()
    operator.apply(state, readingAt(0, 90), out)
    rules.become(
      ruleOf(
        'r1',
        { settings: settings() },
        { from: T0 + 5_000, settings: settings({ raise: 85 }) },
        { from: T0 + 8_000, settings: settings({ raise: 95 }) },
      ),
    )
    operator.apply(state, readingAt(4, 90), out)
    operator.apply(state, readingAt(5, 90), out)
    assert.deepEqual(out.brief, ['+0'])
    operator.apply(state, readingAt(8, 90), out)
    assert.deepEqual(out.brief, ['+0', '-8'])
    assert.equal(out.all[1]?.rule?.version, 3)
    operator.apply(state, readingAt(9, 90, { receivedAt: T0 }), out)
    assert.deepEqual(out.brief, ['+0', '-8'], 'no reading is judged by a version before the last one')
  })

  for (const [what, next] of [
    ['removed', null],
    ['switched off', settings({ enabled: false })],
    ['given another metric', settings({ metric: 'flow' })],
    ['made for other devices', settings({ matchers: [{ label: 'device', is: 'x' }] })],
  ] as const) {
    it(`clears what it raised when it is ${what}, for devices that say nothing any more too`, () => {
      const rules = new KnownRules(ruleOf('r1', { settings: settings() }))
      const operator = ruleOperator(rules)
      const state = operator.create('default', 'pump-1', 'pump')
      const out = new Statements()
      operator.apply(state, readingAt(0, 90), out)
      assert.deepEqual(operator.dueAt(state, T0), { dueMs: T0 + 300_000, sinceMs: T0 })
      rules.become(ruleOf('r1', { settings: settings() }, { from: T0 + 5_000, settings: next }))
      assert.equal(operator.tick(state, T0 + 4_000, out), false)
      assert.equal(operator.dueAt(state, T0 + 4_000)?.dueMs, T0 + 5_000)
      assert.equal(operator.tick(state, T0 + 5_000, out), true)
      assert.deepEqual(out.brief, ['+0', '-0'])
      assert.deepEqual([out.all[1]?.rule?.id, state.tracks.size], ['r1', 0])
      assert.equal(operator.tick(state, T0 + 6_000, out), false)
      assert.equal(operator.dueAt(state, T0 + 6_000), null)
    })
  }

  it('clears what a rule raised of which nothing is known any more', () => {
    const rules = new KnownRules(ruleOf('r1', { settings: settings() }))
    const operator = ruleOperator(rules)
    const state = operator.create('default', 'pump-1', 'pump')
    const out = new Statements()
    operator.apply(state, readingAt(0, 90), out)
    rules.become()
    operator.apply(state, readingAt(1, 90), out)
    assert.deepEqual(out.brief, ['+0', '-0'])
  })
})

test('many rules on one metric speak for themselves', () => {
  const rules = new KnownRules(ruleOf('r1', { settings: settings() }), ruleOf('r2', { settings: settings({ raise: 100 }) }))
  const operator = ruleOperator(rules)
  const state = operator.create('default', 'pump-1', 'pump')
  const out = new Statements()
  for (const [at, value] of [
    [0, 90],
    [1, 110],
    [2, 90],
    [3, 10],
  ] as const)
    operator.apply(state, readingAt(at, value), out)
  assert.deepEqual(
    out.all.map(({ rule, phase }) => `${rule?.id} ${phase}`),
    ['r1 raised', 'r2 raised', 'r2 cleared', 'r1 cleared'],
  )
})

describe('a rule on windows', () => {
  const begun = (rule: Partial<RuleSettings> = {}): { operator: RuleOperator; state: DeviceRules; out: Statements } => {
    const operator = ruleOperator(new KnownRules(ruleOf('r1', { settings: settings({ on: onWindow(), ...rule }) })))
    return { operator, state: operator.create('default', 'pump-1', 'pump'), out: new Statements() }
  }
  const see = ({ operator, state, out }: ReturnType<typeof begun>, ...args: Parameters<typeof windowAt>): void => {
    operator.observe(state, TOPICS.windows, windowAt(...args))
    operator.apply(state, readingAt((args[0] + 1) * 60, undefined), out)
  }

  it('is raised by a window, goes on, and is cleared by the next one that is fine', () => {
    const world = begun()
    see(world, 0, 70)
    see(world, 1, 90)
    see(world, 2, 91)
    see(world, 3, 70)
    assert.deepEqual(world.out.brief, ['+120', '-240'])
    const [raised] = world.out.all
    assert.deepEqual(raised?.evidence?.window, {
      ...{ kind: 'tumbling', startTs: T0 + 60_000, endTs: T0 + 120_000, id: `default/pump-1/pressure/tumbling/60000/${T0 + 60_000}` },
      ...{ revision: 1, aggregate: 'max', value: 90 },
    })
  })

  it('is updated by the next revision of its window, and retracted by one that is fine', () => {
    const world = begun()
    see(world, 0, 90)
    see(world, 0, 95, 2)
    see(world, 0, 95, 2)
    assert.deepEqual(world.out.brief, ['+60', '+60'])
    assert.deepEqual([world.out.all[1]?.evidence?.window?.revision, world.out.all[1]?.evidence?.window?.value], [2, 95])
    see(world, 0, 60, 3)
    assert.deepEqual(world.out.brief, ['+60', '+60', 'x60'])
    assert.match(world.out.all[2]?.explanation.text ?? '', /after a correction \(revision 3\), no longer above 80/)
  })

  it('is raised late by a correction, and cleared at once where later windows were fine already', () => {
    const world = begun()
    see(world, 0, 70)
    see(world, 1, 70)
    see(world, 0, 90, 2)
    assert.deepEqual(world.out.brief, ['+60', '-120'])
    const open = begun({ clear: 60 })
    see(open, 0, 70)
    see(open, 1, 70)
    see(open, 0, 90, 2)
    assert.deepEqual(open.out.brief, ['+60'], 'between the limits it stays')
  })

  it('counts its duration over windows', () => {
    const world = begun({ forMs: 120_000 })
    see(world, 0, 90)
    see(world, 1, 90)
    assert.deepEqual(world.out.brief, ['+120'])
    see(world, 0, 20, 2)
    assert.deepEqual(world.out.brief, ['+120', 'x60'], 'the first half was wrong')
  })

  it('judges windows that time alone closed', () => {
    const { operator, state, out } = begun()
    operator.observe(state, TOPICS.windows, windowAt(0, 90))
    assert.equal(operator.tick(state, T0 + 200_000, out), true)
    assert.deepEqual(out.brief, ['+60'])
    assert.deepEqual([out.all[0]?.partition, out.all[0]?.offset], [-1, -1])
  })

  it('holds no more windows than may be corrected, through a checkpoint', () => {
    const world = begun()
    for (let minute = 0; minute < 500; minute++) see(world, minute, minute % 7 === 0 ? 90 : 20)
    const restored = world.operator.decode(
      bytesOf((writer) => world.operator.encode(world.state, writer)),
      world.operator.stateVersion,
    )
    assert.ok((restored.tracks.get('r1')?.windows.length ?? 99) <= 3)
    assert.deepEqual(restored.tracks, world.state.tracks)
  })
})
