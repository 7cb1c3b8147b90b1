import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { MetricValue } from '../../contracts/reading.ts'
import { bytesOf } from '../../kernel/byte-stream.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { AnomalyMetrics } from '../anomaly-metrics.ts'
import { AnomalyConfigSchema } from '../config.ts'
import { CorrelationOperator, type DeviceCorrelation } from './correlation-operator.ts'

const START_TS = 1_763_680_000_000

class Bench {
  readonly operator: CorrelationOperator
  readonly anomalies: Anomaly[] = []
  state: DeviceCorrelation
  offset = 0

  constructor() {
    const checked = compileSchema(AnomalyConfigSchema)({})
    assert.ok(checked.status === 'valid')
    this.operator = new CorrelationOperator({ config: checked.value, anomalyMetrics: new AnomalyMetrics(new Metrics()) })
    this.state = this.operator.create('default', 'pump-1', 'pump')
  }

  say(values: Record<string, MetricValue>): void {
    const offset = this.offset++
    const at = { receivedAt: START_TS + offset * 1_000, ts: START_TS + offset * 1_000, correlationId: '', partition: 0, offset }
    this.operator.apply(
      this.state,
      { tenant: 'default', device: 'pump-1', type: 'pump', values, ...at },
      { emit: (_topic, _schema, _tenant, _device, anomaly) => void this.anomalies.push(anomaly as Anomaly) },
    )
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(bytesOf((into) => this.operator.encode(this.state, into)))
  }
}

/** Readings of a pump; from 2000 to 2200 its power does not follow its flow. */
function* readings(count: number): Generator<Record<string, MetricValue>> {
  const random = seededRandom(3)
  for (let i = 0; i < count; i++) {
    const load = 50 + 20 * Math.sin(i / 40)
    const own = i >= 2_000 && i < 2_200 ? 50 + 20 * Math.sin(i / 15 + 2) : load
    const also = { speed: 10 * load + 8 * gaussian(random), mode: 'on', ok: true }
    yield { flow: load + gaussian(random), power: 4 * own + 3 * gaussian(random), ...also }
  }
}

test('a metric that leaves the others is raised under its own name, explained, and cleared', () => {
  const bench = new Bench()
  for (const values of readings(4_000)) bench.say(values)
  assert.deepEqual(
    bench.anomalies
      .filter(({ severity, phase }) => phase === 'cleared' || severity === 'warning')
      .map(({ phase, metric, cause }) => [phase, metric, cause])
      .slice(0, 1),
    [['raised', 'power', 'correlation']],
  )
  const [raised] = bench.anomalies
  assert.ok(raised && raised.offset >= 2_000 && raised.offset < 2_060, `at ${raised?.offset}`)
  assert.match(raised.explanation.text, /^power [\d.]+ does not go with the other metrics: .*; \d+ readings seen$/)
  assert.equal(raised.explanation.contributions[0]?.part, 'power')
  assert.equal(bench.anomalies.at(-1)?.phase, 'cleared')
})

test('a state that was saved goes on bit-equally', () => {
  const [whole, halved] = [new Bench(), new Bench()]
  for (const values of readings(2_300)) whole.say(values)
  for (const values of readings(2_300)) {
    halved.say(values)
    if (halved.offset % 700 === 0) halved.state = halved.operator.decode(halved.bytes, halved.operator.stateVersion)
  }
  assert.deepEqual(halved.anomalies, whole.anomalies)
  assert.deepEqual(halved.bytes, whole.bytes)
})

test('a device of one metric keeps nothing, and bytes that are no state are refused', () => {
  const bench = new Bench()
  for (let i = 0; i < 100; i++) bench.say({ flow: i, mode: 'on' })
  assert.equal(bench.state.state, null)
  assert.throws(() => bench.operator.decode(new Uint8Array([1]), 1), { code: 'INVALID_INPUT' })
  assert.throws(() => bench.operator.decode(bench.bytes, 2), { code: 'INVALID_INPUT' })
})
