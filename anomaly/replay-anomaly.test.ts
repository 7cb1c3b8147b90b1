import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Anomaly } from '../contracts/anomaly.ts'
import type { LoggedReading } from '../contracts/reading.ts'
import { Metrics } from '../kernel/metrics.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import { AnomalyOperator } from './anomaly-operator.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from './config.ts'
import { CorrelationOperator } from './joint/correlation-operator.ts'
import { replayAnomaly, type KeptParts } from './replay-anomaly.ts'
import type { PastReading } from './replayed.ts'
import { seriesWithEvents } from './synthetic-events.ts'

const START_TS = 1_763_680_000_000
const NOTHING_KEPT: KeptParts = { model: () => Promise.resolve({ status: 'gone', why: 'gone' }), peers: () => Promise.resolve(null) }

function configOf(settings: Partial<AnomalyConfig> = {}): AnomalyConfig {
  const checked = compileSchema(AnomalyConfigSchema)(settings)
  assert.ok(checked.status === 'valid')
  return checked.value
}

/** A pump's readings, and what was said of them live. */
function live(config: AnomalyConfig): { readings: PastReading[]; anomalies: Anomaly[] } {
  const random = seededRandom(6)
  const { values } = seriesWithEvents({
    base: 'sine',
    kinds: ['platform', 'spike', 'noise burst'],
    readings: 2_500,
    quiet: 700,
    every: 300,
    random,
  })
  const single = new AnomalyOperator({ config, silenceAfterMs: () => 0, metrics: new Metrics() })
  const together = new CorrelationOperator({ config, anomalyMetrics: single.anomalyMetrics })
  const states = [single.create('default', 'p', 'pump'), together.create('default', 'p', 'pump')] as const
  const anomalies: Anomaly[] = []
  const out = { emit: (...[, , , , value]: [string, string, string, string, object]) => void anomalies.push(value as Anomaly) }
  const readings = values.map((flow, i): PastReading => {
    const mode = i === 1_900 ? 'odd' : 'on'
    return {
      ts: START_TS + i * 400,
      values: { flow, power: 3 * flow + gaussian(random) + (i > 1_500 && i < 1_700 ? 40 * gaussian(random) : 0), mode },
    }
  })
  for (const [offset, { ts, values: said }] of readings.entries()) {
    const at = { tenant: 'default', device: 'p', type: 'pump', receivedAt: ts, ts, correlationId: '', partition: 0, offset }
    const reading: LoggedReading = { ...at, values: { ...said } }
    single.apply(states[0], reading, out)
    together.apply(states[1], reading, out)
  }
  return { readings, anomalies }
}

test('the stored readings give every anomaly its score again, bit for bit', async (t) => {
  const config = configOf()
  const { readings, anomalies } = live(config)
  const kinds = new Set(anomalies.map(({ metric, cause }) => `${cause} ${metric}`))
  t.diagnostic([...kinds].join(', '))
  assert.ok(kinds.has('value flow') && kinds.has('value mode') && [...kinds].some((kind) => kind.startsWith('correlation')))
  for (const anomaly of anomalies) {
    const replayed = await replayAnomaly(anomaly, readings, config, NOTHING_KEPT)
    assert.deepEqual([replayed.status, replayed.score], ['same', anomaly.score], JSON.stringify(replayed))
  }
})

test('what changed is named: readings that are gone, another detector, other parameters, the reading itself', async () => {
  const config = configOf()
  const { readings, anomalies } = live(config)
  const anomaly = anomalies.find(({ metric, cause, phase }) => metric === 'flow' && cause === 'value' && phase === 'raised')
  assert.ok(anomaly)
  const why = async (said: Partial<Anomaly>, from: readonly PastReading[], now = config): Promise<string> => {
    const replayed = await replayAnomaly({ ...anomaly, ...said }, from, now, NOTHING_KEPT)
    assert.equal(replayed.status, 'changed')
    return replayed.status === 'changed' ? replayed.why.join('; ') : ''
  }
  assert.match(await why({}, readings.slice(300)), /readings were known then, \d+ of them are stored/)
  assert.match(await why({}, readings, configOf({ ensemble: false })), /ensemble@1 judged then, robust-online@\d+ judges now/)
  assert.match(
    await why({ score: 0.1, explanation: { ...anomaly.explanation, parameters: { warmUpReadings: 7 } } }, readings),
    /warmUpReadings was 7/,
  )
  assert.match(
    await why(
      {},
      readings.filter(({ ts }) => ts !== anomaly.ts),
    ),
    /no longer stored/,
  )
  assert.match(await why({ cause: 'platform' }, readings), /not a detector's/)
})
