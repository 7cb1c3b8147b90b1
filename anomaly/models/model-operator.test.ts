import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { bytesOf } from '../../kernel/byte-stream.ts'
import { FleetpulseError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock } from '../../kernel/time.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from '../config.ts'
import type { ModelDeviceState } from './model-device-state.ts'
import { ModelOperator, type ServedModel } from './model-operator.ts'
import { nothingObserved } from './observations.ts'
import { Scorer } from './scorer.ts'
import { pumpReadings, readingOf } from './testing/synthetic-fleet.ts'
import { trainedModel } from './testing/trained-model.ts'

const trained = await trainedModel()
const scorer = new Scorer(trained.backend, trained.model)
const config = compileSchema(AnomalyConfigSchema)({ clearAfterReadings: 20 }) as { value: AnomalyConfig }

function servedModel(changes: Partial<ServedModel> = {}): ServedModel {
  return { scorer, inShadow: false, observed: nothingObserved(scorer.manifest.metrics.length), ...changes }
}

/** An operator with everything it emitted. */
function operatorOf(served: () => readonly ServedModel[]) {
  const emitted: Anomaly[] = []
  const operator = new ModelOperator({ config: config.value, served, clock: systemClock, log: silentLogger, metrics: new Metrics() })
  const out = (isFresh = true) => ({
    isFresh,
    emit: (_t: string, _s: string, _a: string, _d: string, value: object) => void emitted.push(value as Anomaly),
  })
  const feed = (state: ModelDeviceState, readings: readonly LoggedReading[], batch = readings.length, isFresh = true): void => {
    readings.forEach((reading, k) => {
      operator.apply(state, reading, out(isFresh))
      if ((k + 1) % batch === 0) operator.finish(out())
    })
    operator.finish(out())
  }
  return { operator, emitted, feed }
}

const FAULTY = pumpReadings({ device: 'x', seed: 1, rows: 500, from: 700, fault: { kind: 'shift', metric: 4, fromRow: 900, toRow: 960 } })

/** All anomalies of the faulty pump, its readings taken in batches of some size. */
function anomaliesOf(batch: number): Anomaly[] {
  const { operator, emitted, feed } = operatorOf(() => [servedModel()])
  feed(operator.create('default', 'x', 'pump'), FAULTY, batch)
  return emitted
}

test('a fault is raised and cleared, with version, metrics and log position', () => {
  const [raised, ...rest] = anomaliesOf(FAULTY.length)
  assert.deepEqual([raised?.phase, raised?.cause, raised?.metric, raised?.device], ['raised', 'model', '', 'x'])
  assert.ok(raised!.offset >= 900 && raised!.offset < 910)
  assert.deepEqual([raised!.explanation.detector, raised!.explanation.detectorVersion], ['model', 1])
  assert.equal(raised!.explanation.contributions[0]?.part, 'pressure')
  assert.match(raised!.explanation.text, /pressure/)
  assert.equal(rest.at(-1)?.phase, 'cleared')
})

test('the anomalies are the same however readings are batched', () => {
  const together = anomaliesOf(FAULTY.length)
  assert.ok(together.length >= 2)
  assert.deepEqual(anomaliesOf(1), together)
  assert.deepEqual(anomaliesOf(7), together)
})

test('the anomalies of a prefix are a prefix of the anomalies', () => {
  const { operator, emitted, feed } = operatorOf(() => [servedModel()])
  feed(operator.create('default', 'x', 'pump'), FAULTY.slice(0, 230))
  assert.deepEqual(emitted, anomaliesOf(FAULTY.length).slice(0, emitted.length))
  assert.ok(emitted.length > 0)
})

test('a state that was saved and restored in the midst of it goes on the same', () => {
  const { operator, emitted, feed } = operatorOf(() => [servedModel()])
  const state = operator.create('default', 'x', 'pump')
  feed(state, FAULTY.slice(0, 215))
  const restored = operator.decode(
    bytesOf((writer) => operator.encode(state, writer)),
    operator.stateVersion,
  )
  assert.deepEqual(restored, state)
  feed(restored, FAULTY.slice(215))
  assert.deepEqual(emitted, anomaliesOf(FAULTY.length))
  assert.throws(() => operator.decode(new Uint8Array(3), 99), FleetpulseError)
})

test('a model in shadow is counted and says nothing; what a replay repeats is not emitted', async () => {
  const shadow = servedModel({ inShadow: true })
  const quiet = operatorOf(() => [shadow])
  quiet.feed(quiet.operator.create('default', 'x', 'pump'), FAULTY)
  assert.deepEqual(quiet.emitted, [])
  assert.ok(shadow.observed.alarms > 0 && shadow.observed.rows === FAULTY.length - 3)
  const replay = operatorOf(() => [servedModel()])
  replay.feed(replay.operator.create('default', 'x', 'pump'), FAULTY, FAULTY.length, false)
  assert.deepEqual(replay.emitted, [])
})

test('at most one row a second is scored, of one device as of many', () => {
  const model = servedModel()
  const { operator, feed } = operatorOf(() => [model])
  const fast = FAULTY.slice(0, 50).flatMap((reading) => [0, 100, 900].map((ms) => ({ ...reading, ts: reading.ts + ms })))
  feed(operator.create('default', 'x', 'pump'), fast)
  assert.equal(model.observed.rows, 50 - 3)
  for (let device = 0; device < 700; device++)
    for (const reading of FAULTY.slice(0, 4)) operator.apply(stateOf(device), reading, { emit: () => undefined })
  operator.finish({ emit: () => undefined })
  assert.equal(model.observed.rows, 47 + 700)
})

const states = new Map<number, ModelDeviceState>()
function stateOf(device: number): ModelDeviceState {
  const state = states.get(device) ?? { tenant: 'default', device: `d${device}`, type: 'pump', windows: [] }
  states.set(device, state)
  return state
}

test('what a model raised is cleared when it no longer serves', () => {
  let serving: readonly ServedModel[] = [servedModel()]
  const { operator, emitted, feed } = operatorOf(() => serving)
  const state = operator.create('default', 'x', 'pump')
  feed(state, FAULTY.slice(0, 215))
  assert.equal(emitted.at(-1)?.phase, 'raised')
  serving = []
  feed(state, FAULTY.slice(215, 220))
  assert.deepEqual(emitted.filter(({ phase }) => phase === 'cleared').length, 1)
  assert.deepEqual(state.windows, [])
})

test('no value, time or order of readings breaks it, and no score is not a number', () => {
  const model = servedModel()
  const { operator, emitted, feed } = operatorOf(() => [model])
  const state = operator.create('default', 'x', 'pump')
  const odd = [Number.NaN, Number.POSITIVE_INFINITY, 1e300, -1e300, 0, Number.MIN_VALUE]
  const readings = odd.flatMap((value, k) => [
    readingOf(
      'x',
      10 * k,
      Array.from({ length: 8 }, () => value),
    ),
    { ...readingOf('x', 10 * k + 1, []), values: { temperature: 'hot', flow: true, pressure: value } },
    { ...readingOf('x', 10 * k - 5, []), values: {} },
    readingOf(
      'x',
      10 * k,
      Array.from({ length: 8 }, (_, m) => m),
    ),
  ])
  feed(state, readings)
  feed(state, FAULTY)
  assert.ok(emitted.every(({ score }) => Number.isFinite(score) && score >= 0 && score <= 1))
  assert.equal(
    model.observed.scores.reduce((sum, count) => sum + count, 0),
    model.observed.rows,
  )
})

test('a window begins anew after a gap, and a type without a model costs no state', () => {
  const model = servedModel()
  const { operator, feed } = operatorOf(() => [model])
  const state = operator.create('default', 'x', 'pump')
  feed(state, FAULTY.slice(0, 10))
  feed(state, FAULTY.slice(200, 203))
  assert.equal(model.observed.rows, 7, 'three rows after the gap are no window yet')
  const none = operatorOf(() => [])
  const bare = none.operator.create('default', 'x', 'pump')
  none.feed(bare, FAULTY)
  assert.equal(bytesOf((writer) => none.operator.encode(bare, writer)).length, 'default'.length + 'x'.length + 'pump'.length + 4)
})
