import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock } from '../../kernel/time.ts'
import { anomalyConfig } from '../peers/testing/peer-fleet.ts'
import { replayAnomaly, type KeptParts } from '../replay-anomaly.ts'
import type { PastReading, Replayed } from '../replayed.ts'
import { isNativeInstalled, openBackend, openLike } from './backend.ts'
import { ModelOperator, type ServedModel } from './model-operator.ts'
import { nothingObserved } from './observations.ts'
import type { KeptModel } from './replay-model.ts'
import { Scorer } from './scorer.ts'
import { pumpReadings } from './testing/synthetic-fleet.ts'
import { trainedModel } from './testing/trained-model.ts'

const config = anomalyConfig({ clearAfterReadings: 20 })
const { backend, model } = await trainedModel()
const wasmScorer = new Scorer(backend, model)
const READINGS = pumpReadings({ device: 'x', seed: 1, rows: 400, from: 700, fault: { kind: 'shift', metric: 4, fromRow: 900, toRow: 960 } })
const anomalies = live()

/** What a model said of the pump on the road, and that it was retired. */
function live(scorer = wasmScorer): Anomaly[] {
  const told: Anomaly[] = []
  const out = { emit: (_t: string, _s: string, _a: string, _d: string, value: object) => void told.push(value as Anomaly) }
  const served: ServedModel = { scorer, inShadow: false, observed: nothingObserved(scorer.manifest.metrics.length) }
  let models = [served]
  const operator = new ModelOperator({ config, served: () => models, clock: systemClock, log: silentLogger, metrics: new Metrics() })
  const state = operator.create('default', 'x', 'pump')
  for (const reading of READINGS) operator.apply(state, reading, out)
  operator.finish(out)
  state.windows[0]!.raised = { severity: 'warning', normalReadings: 0, abnormalTs: 0 }
  models = []
  operator.apply(state, READINGS.at(-1)!, out)
  operator.finish(out)
  return told
}

function replay(
  anomaly: Anomaly,
  readings: readonly PastReading[],
  kept: KeptModel = { status: 'kept', scorer: wasmScorer },
): Promise<Replayed> {
  const parts: KeptParts = { model: () => Promise.resolve(kept), peers: () => Promise.resolve(null) }
  return replayAnomaly(anomaly, readings, config, parts)
}

test('the stored readings and the model give every anomaly its score again, bit for bit', async () => {
  assert.deepEqual([anomalies[0]?.phase, anomalies.at(-2)?.phase, anomalies.at(-1)?.score], ['raised', 'cleared', 0])
  for (const anomaly of anomalies) {
    const replayed = await replay(anomaly, READINGS)
    assert.deepEqual([replayed.status, replayed.score], ['same', anomaly.score], JSON.stringify(replayed))
  }
})

test('what changed is named: the model that is gone, another model, readings that are gone or others than then', async () => {
  const [raised] = anomalies as [Anomaly]
  const at = READINGS.findIndex(({ ts }) => ts === raised.ts)
  const why = async (readings: readonly PastReading[], kept?: KeptModel): Promise<string> => {
    const replayed = await replay(raised, readings, kept)
    assert.equal(replayed.status, 'changed')
    return replayed.status === 'changed' ? replayed.why.join('; ') : ''
  }
  assert.equal(
    await why(READINGS, { status: 'gone', why: 'there is no file of model pump@1: it is retired' }),
    'there is no file of model pump@1: it is retired',
  )
  assert.equal(await why(READINGS.slice(at + 1)), 'the reading itself is no longer stored')
  assert.equal(await why(READINGS.slice(at - 1)), 'the 4 rows that the model judges together are no longer all stored')
  const altered = READINGS.map((reading, k) => (k === at - 1 ? { ...reading, values: { ...reading.values, flow: 7 } } : reading))
  assert.equal(await why(altered), 'the stored readings make another window than then, in flow')
  const other = await trainedModel({ seed: 9, epochs: 2 })
  const retrained = new Scorer(other.backend, other.model)
  assert.match(
    await why(READINGS, { status: 'kept', scorer: retrained }),
    /^modelSha256 of the model was \w{64} and is \w{64}; threshold of the model was/,
  )
})

test('what calculates is written down, asked for again, and named where it is another one now', async () => {
  const cpu = await openBackend('cpu')
  const own = new Scorer(cpu, model)
  const told = live(own).filter(({ score }) => score > 0)
  const parts: KeptParts = {
    model: async (_type, _version, name) => ({ status: 'kept', scorer: new Scorer(await openLike(name), model) }),
    peers: () => Promise.resolve(null),
  }
  assert.deepEqual(new Set(told.map(({ explanation }) => explanation.parameters.backend)), new Set(['cpu']))
  for (const anomaly of told) {
    await openBackend('wasm')
    assert.deepEqual((await replayAnomaly(anomaly, READINGS, config, parts)).status, 'same')
  }
  const [raised] = told as [Anomaly]
  // On a machine where the two agree to the last bit, a score that neither would give.
  const other = { ...raised, score: raised.score - 1e-9 }
  await openBackend('wasm')
  const why = async (anomaly: Anomaly): Promise<string[]> => {
    const replayed = await replay(anomaly, READINGS)
    return replayed.status === 'changed' ? replayed.why : []
  }
  assert.deepEqual(await why(other), ['the backend that calculates was cpu and is wasm'])
  const { backend: _, ...before } = raised.explanation.parameters
  const [unsaid] = await why({ ...other, explanation: { ...raised.explanation, parameters: before } })
  assert.match(unsaid ?? '', /backend wasm calculates: which one did so then is not written down/)
})

test('a backend that cannot be used here gives way to one that can', async () => {
  const { name } = await openLike('tensorflow')
  assert.equal(name, isNativeInstalled() ? 'tensorflow' : 'wasm')
})
