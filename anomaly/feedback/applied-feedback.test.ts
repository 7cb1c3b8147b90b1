import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import { FEEDBACK_CHANGES_COLLECTION, type FeedbackChange } from '../../contracts/feedback-change.ts'
import { bytesOf } from '../../kernel/byte-stream.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { AnomalyOperator } from '../anomaly-operator.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from '../config.ts'
import { seriesWithEvents } from '../synthetic-events.ts'
import { AppliedFeedback } from './applied-feedback.ts'
import type { FeedbackView } from './rule.ts'

const START_TS = 1_763_680_000_000
const GROUP = 'processing'

function configOf(): AnomalyConfig {
  const checked = compileSchema(AnomalyConfigSchema)({ feedbackPollMs: 600_000 })
  assert.ok(checked.status === 'valid')
  return checked.value
}

/** Another process, as far as feedback is concerned. */
async function process(t: TestContext, documents: Documents): Promise<AppliedFeedback> {
  const applied = new AppliedFeedback({ documents, clock: systemClock, log: silentLogger, config: configOf() })
  await applied.start()
  t.after(() => applied.stop())
  return applied
}

async function change(documents: Documents, rule: FeedbackChange['rule'], feedback = 'f-1'): Promise<void> {
  const changes = await documents.collection<FeedbackChange>({ name: FEEDBACK_CHANGES_COLLECTION, indexes: [] })
  const number = (await changes.count({})) + 1
  await changes.insert(String(number), { number, tenant: 'default', feedback, rule, by: 'user:a', at: 0 })
}

class Run {
  readonly anomalies: Anomaly[] = []
  readonly #operator: AnomalyOperator
  #state
  offset = 0

  constructor(feedback: FeedbackView) {
    this.#operator = new AnomalyOperator({ config: configOf(), silenceAfterMs: () => 0, metrics: new Metrics(), feedback })
    this.#state = this.#operator.create('default', 'pump-1', 'pump')
  }

  go(values: readonly number[]): this {
    for (const value of values) {
      const ts = START_TS + this.offset * 1_000
      const place = { partition: 2, offset: this.offset++, correlationId: '' }
      this.#operator.apply(
        this.#state,
        { tenant: 'default', device: 'pump-1', type: 'pump', receivedAt: ts, ts, values: { flow: value }, ...place },
        { emit: (_topic, _schema, _tenant, _device, anomaly) => void this.anomalies.push(anomaly as Anomaly) },
      )
    }
    return this
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(bytesOf((into) => this.#operator.encode(this.#state, into)))
  }

  restore(bytes: Uint8Array, offset: number): this {
    this.#state = this.#operator.decode(bytes, this.#operator.stateVersion)
    this.offset = offset
    return this
  }
}

const { values } = seriesWithEvents({
  base: 'noise',
  kinds: ['platform', 'dip'],
  readings: 3_000,
  quiet: 700,
  every: 300,
  random: seededRandom(4),
})

test('changes hold from the offset at which a process adopted them, for whoever replays those readings', async (t) => {
  const documents = await lmdbDocuments(t)
  const first = await process(t, documents)
  await first.take(GROUP, [2])
  const live = new Run(first).go(values.slice(0, 1_000))
  const [raised] = live.anomalies
  const cleared = live.anomalies.find(({ phase }) => phase === 'cleared')
  assert.ok(raised?.pattern !== undefined && cleared?.event !== undefined)
  const rule = {
    id: 'f-1',
    tenant: 'default',
    type: 'pump',
    metric: 'flow',
    devices: ['pump-1'],
    verdict: 'rejected' as const,
    pattern: raised.pattern,
    event: cleared.event,
  }
  await change(documents, rule)
  assert.equal(first.isBehind([2]), false, 'not known before it is read')
  await first.refresh()
  assert.equal(first.isBehind([2]), true)
  await first.adopt(GROUP, new Map([[2, live.offset]]))
  assert.equal(first.isBehind([2]), false)
  const checkpoint = live.bytes
  live.go(values.slice(1_000, 2_200))
  await change(documents, null)
  await first.refresh()
  await first.adopt(GROUP, new Map([[2, live.offset]]))
  live.go(values.slice(2_200))
  const unheeded = new Run({ rulesFor: () => [] }).go(values)
  assert.ok(live.anomalies.length < unheeded.anomalies.length, 'the rule makes a difference')

  const second = await process(t, documents)
  await second.take(GROUP, [2])
  const whole = new Run(second).go(values)
  assert.deepEqual(whole.anomalies, live.anomalies)
  assert.deepEqual(whole.bytes, live.bytes)
  const restored = new Run(second).restore(checkpoint, 1_000).go(values.slice(1_000))
  assert.deepEqual(restored.bytes, live.bytes)
  assert.deepEqual(
    restored.anomalies,
    live.anomalies.filter(({ offset }) => offset >= 1_000),
  )
})

test('a process that lost its partition cannot adopt anything there any more', async (t) => {
  const documents = await lmdbDocuments(t)
  const [former, owner] = [await process(t, documents), await process(t, documents)]
  await former.take(GROUP, [2])
  await owner.take(GROUP, [2])
  await change(documents, null)
  await Promise.all([former.refresh(), owner.refresh()])
  await owner.adopt(GROUP, new Map([[2, 700]]))
  await assert.rejects(former.adopt(GROUP, new Map([[2, 500]])), { code: 'CONFLICT' })
})
