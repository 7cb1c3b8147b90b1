import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import { bytesOf } from '../../kernel/byte-stream.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { severityOf } from '../anomaly-lifecycle.ts'
import { AnomalyOperator } from '../anomaly-operator.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from '../config.ts'
import { AppliedPolicies } from './applied-policies.ts'
import { Policies } from './policies.ts'
import { PolicyDesk } from './policy-desk.ts'
import type { Policy, PolicyChange } from './policy.ts'

const START_TS = 1_763_680_000_000
const GROUP = 'processing'
const BY: Principal = { kind: 'user', id: 'ada', tenant: 'default', roles: ['admin'] }
const NOW = [0, 0] as const

function configOf(settings: object = {}): AnomalyConfig {
  const checked = compileSchema(AnomalyConfigSchema)({ feedbackPollMs: 600_000, ...settings })
  assert.ok(checked.status === 'valid', JSON.stringify(checked))
  return checked.value
}

const any = { type: '*', metric: '*', device: '*' }
const changeOf = (number: number, policies: Policy[]): PolicyChange => ({ number, tenant: 'default', policies, by: 'user:a', at: 0 })
const pump = (device: string, type = 'pump') => ({ tenant: 'default', device, type })

test('the first policy that names type and metric holds, the settings elsewhere', () => {
  const config = configOf({
    policies: [
      { type: 'pump', metric: 'flow*', alertThreshold: 0.9, impact: 'high' },
      { type: 'pump', alertThreshold: 0.3 },
    ],
  })
  const policies = new Policies({ config })
  const own = pump('p-1')
  const [flow, other, valve] = [
    policies.of(own, 'flow.left', ...NOW),
    policies.of(own, 'speed', ...NOW),
    policies.of(pump('v', 'valve'), 'flow', ...NOW),
  ]
  assert.deepEqual([flow.alertThreshold, flow.criticalThreshold, flow.impact], [0.9, 0.9, 'high'])
  assert.deepEqual([other.alertThreshold, other.normalBelow, other.impact], [0.3, 0.3, 'normal'])
  assert.equal(valve, config)
  assert.equal(policies.of(own, 'flow.left', ...NOW), flow, 'asked for on every reading')
})

test('a policy names one device, or those whose labels say so; what people put comes before the configuration', () => {
  const labels = { site: 'north' }
  let change: PolicyChange | null = changeOf(1, [
    { ...any, device: 'p-7', alertThreshold: 0.8 },
    { ...any, matchers: [{ label: 'site', is: 'north' }], impact: 'low' },
  ])
  let labelled: Record<string, string> = labels
  const policies = new Policies({
    config: configOf({ policies: [{ type: 'pump', alertThreshold: 0.5 }] }),
    view: { at: () => change },
    labelsOf: (_tenant, device) => (device === 'p-2' ? labelled : {}),
  })
  const [one, seven, two] = [pump('p-1'), pump('p-7'), pump('p-2')]
  const thresholds = () =>
    [one, seven, two].map((own) => policies.of(own, 'flow', ...NOW)).map((own) => `${own.alertThreshold} ${own.impact}`)
  assert.deepEqual(thresholds(), ['0.5 normal', '0.8 normal', '0.65 low'])
  labelled = { site: 'south' }
  assert.deepEqual(thresholds(), ['0.5 normal', '0.8 normal', '0.5 normal'], 'labels that changed')
  change = null
  assert.deepEqual(thresholds(), ['0.5 normal', '0.5 normal', '0.5 normal'])
})

test('severity comes from score, confidence and impact', () => {
  const [low, normal, high] = (['low', 'normal', 'high'] as const).map((impact) => configOf({ impact }))
  assert.ok(low && normal && high)
  assert.deepEqual(
    [0.65, 0.75, 0.95].map((novelty) => [low, normal, high].map((config) => severityOf(novelty, config))),
    [
      ['warning', 'warning', 'warning'],
      ['warning', 'warning', 'critical'],
      ['warning', 'critical', 'critical'],
    ],
  )
})

test('what is no policy is refused', () => {
  for (const policy of [{ type: 'pump', alertThreshold: 2 }, { impact: 'huge' }, { typ: 'pump' }, { matchers: [{ label: 'a' }] }]) {
    assert.equal(compileSchema(AnomalyConfigSchema)({ policies: [policy] }).status, 'invalid')
  }
})

/** Another process, as far as policies are concerned. */
async function process(t: TestContext, documents: Documents): Promise<AppliedPolicies> {
  const applied = new AppliedPolicies({ documents, clock: systemClock, log: silentLogger, config: configOf() })
  await applied.start()
  await applied.take(GROUP, [2])
  t.after(() => applied.stop())
  return applied
}

/** Where a noisy series leaves its level, and by how much. */
const EVENTS: Record<number, number> = { 500: 60, 501: 60, 900: -60, 901: -60, 1_500: 90, 1_501: 90 }

/** Anomalies of that series, and the state at its end. */
class Run {
  readonly anomalies: Anomaly[] = []
  readonly #operator: AnomalyOperator
  readonly #state
  readonly #random = seededRandom('spikes')
  offset = 0

  constructor(view: AppliedPolicies) {
    const config = configOf()
    const policies = new Policies({ config, view })
    this.#operator = new AnomalyOperator({ config, policies, silenceAfterMs: () => 0, metrics: new Metrics() })
    this.#state = this.#operator.create('default', 'pump-1', 'pump')
  }

  go(readings: number): this {
    for (const end = this.offset + readings; this.offset < end; this.offset++) {
      const ts = START_TS + this.offset * 1_000
      const flow = 20 + gaussian(this.#random) + (EVENTS[this.offset] ?? 0)
      const at = {
        tenant: 'default',
        device: 'pump-1',
        type: 'pump',
        receivedAt: ts,
        ts,
        correlationId: '',
        partition: 2,
        offset: this.offset,
      }
      this.#operator.apply(
        this.#state,
        { ...at, values: { flow } },
        { emit: (...[, , , , value]) => void this.anomalies.push(value as Anomaly) },
      )
    }
    return this
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(bytesOf((into) => this.#operator.encode(this.#state, into)))
  }
}

test('policies that people put hold from the offset at which they were adopted, for whoever replays those readings', async (t) => {
  const documents = await lmdbDocuments(t)
  const desk = new PolicyDesk({ documents, clock: systemClock, config: configOf() })
  await desk.start()
  t.after(() => desk.stop())
  const first = await process(t, documents)
  const live = new Run(first).go(700)
  const raisedBefore = live.anomalies.length
  assert.ok(raisedBefore > 0)
  const put = await desk.put(BY, [{ ...any, device: 'pump-1', alertThreshold: 1, criticalThreshold: 1 }], 0)
  assert.equal(put.version, 1)
  await first.refresh()
  assert.equal(first.isBehind([2]), true)
  await first.adopt(GROUP, new Map([[2, live.offset]]))
  live.go(600)
  assert.equal(live.anomalies.filter(({ phase, offset }) => phase === 'raised' && offset >= 700).length, 0, 'nothing reaches 1')
  await desk.put(BY, [], 1)
  await first.refresh()
  await first.adopt(GROUP, new Map([[2, live.offset]]))
  live.go(700)
  assert.ok(live.anomalies.some(({ phase, offset }) => phase === 'raised' && offset >= 1_300))

  const second = await process(t, documents)
  const again = new Run(second).go(2_000)
  assert.deepEqual(again.anomalies, live.anomalies)
  assert.deepEqual(again.bytes, live.bytes)
})

test('policies are put as a whole, with the version that they take the place of; another tenant has its own', async (t) => {
  const documents = await lmdbDocuments(t)
  const desk = new PolicyDesk({ documents, clock: systemClock, config: { feedbackChangesMax: 4 } })
  await desk.start()
  t.after(() => desk.stop())
  assert.deepEqual(await desk.get('default'), { policies: [], updatedAt: null, updatedBy: null, version: 0 })
  const list = [{ ...any, impact: 'high' as const }]
  const put = await desk.put(BY, list)
  assert.deepEqual([put.version, put.updatedBy, put.policies], [1, 'user:ada', list])
  assert.equal((await desk.put(BY, list, 1)).version, 1, 'the same again is no new version')
  const other = await desk.put({ ...BY, tenant: 'other' }, [])
  assert.equal(other.version, 0)
  await assert.rejects(desk.put(BY, [], 0), { code: 'VERSION_MISMATCH' })
  const both = await Promise.allSettled([desk.put(BY, [], 1), desk.put(BY, [any], 1)])
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'], 'of two at once one was too late')
  assert.equal((await desk.get('default')).version, 2)
  await desk.put({ ...BY, tenant: 'other' }, [any])
  await desk.put(BY, [{ ...any, impact: 'low' }])
  await assert.rejects(desk.put(BY, list), { code: 'LIMIT_REACHED' })
})
