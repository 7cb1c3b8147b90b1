import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isNativeInstalled, openBackend } from '../backend.ts'
import { newWindow, takeReading } from '../device-window.ts'
import { openModel } from '../model-file.ts'
import { Scorer } from '../scorer.ts'
import { SCORE_AT_THRESHOLD } from '../scoring.ts'
import { PUMP_METRICS, pumpReadings, type SyntheticFault } from '../testing/synthetic-fleet.ts'
import { pumpDataset, trainedModel } from '../testing/trained-model.ts'
import { Training } from './training.ts'

const OPTIONS = { seed: 7, epochsMax: 4, patienceEpochs: 8 }
const trained = await trainedModel()

/** Scores of a pump's rows, null where its window was not full. */
function scoresOf(scorer: Scorer, seed: number, fault?: { kind: SyntheticFault; metric: number }): Float64Array {
  const spec = scorer.manifest
  const window = newWindow(spec)
  const figures: number[] = []
  const where = { fromRow: 900, toRow: 1_000 }
  for (const reading of pumpReadings({
    device: 'x',
    seed,
    rows: 400,
    from: 700,
    ...(fault === undefined ? {} : { fault: { ...fault, ...where } }),
  }))
    if (takeReading(window, spec, reading)) figures.push(...window.figures)
  return scorer.scores(Float32Array.from(figures), figures.length / scorer.width)
}

test('the same readings and seed give the same weights, another seed others', async () => {
  const { windows } = await pumpDataset()
  const run = async (seed: number): Promise<Float32Array> => {
    const training = new Training(trained.backend, windows, { ...OPTIONS, seed })
    while (!training.isDone) await training.learnEpoch()
    return training.network.weights()
  }
  assert.deepEqual(await run(7), await run(7))
  assert.notDeepEqual(await run(7), await run(8))
})

test('a training that was cut off goes on as if it had not been', async () => {
  const { windows } = await pumpDataset()
  const whole = new Training(trained.backend, windows, OPTIONS)
  while (!whole.isDone) await whole.learnEpoch()
  const first = new Training(trained.backend, windows, OPTIONS)
  await first.learnEpoch()
  await first.learnEpoch()
  const checkpoint = await first.checkpoint()
  const second = new Training(trained.backend, windows, OPTIONS)
  await second.resume(structuredClone(checkpoint))
  while (!second.isDone) await second.learnEpoch()
  assert.deepEqual(second.network.weights(), whole.network.weights())
  assert.deepEqual(second.best, whole.best)
  assert.deepEqual(second.losses, whole.losses)
})

test('an epoch that is not to go on leaves nothing behind', async () => {
  const { windows } = await pumpDataset()
  const training = new Training(trained.backend, windows, OPTIONS)
  assert.equal(await training.learnEpoch(() => Promise.resolve(false)), false)
  assert.equal(training.epoch, 0)
})

test('faults of one metric are found, also where it only goes no longer with the others; normal readings raise nothing', () => {
  const scorer = new Scorer(trained.backend, trained.model)
  for (const seed of [0, 1, 2])
    assert.ok(
      scoresOf(scorer, seed).every((score) => score < SCORE_AT_THRESHOLD),
      `false alarm of pump ${seed}`,
    )
  let decoupled = 0
  for (const metric of PUMP_METRICS.keys()) {
    const shifted = scoresOf(scorer, 1, { kind: 'shift', metric }).subarray(200, 300)
    assert.ok(
      shifted.some((score) => score >= SCORE_AT_THRESHOLD),
      `a shift of ${PUMP_METRICS[metric]} was missed`,
    )
    if (
      scoresOf(scorer, 1, { kind: 'decoupled', metric })
        .subarray(200, 300)
        .some((score) => score >= SCORE_AT_THRESHOLD)
    )
      decoupled++
  }
  assert.ok(decoupled >= PUMP_METRICS.length - 2, `${decoupled} of ${PUMP_METRICS.length} broken correlations were found`)
  scorer.dispose()
})

/** Alarms of every fault, one character a row. */
function alarmsOf(scorer: Scorer): string {
  const kinds: SyntheticFault[] = ['none', 'shift', 'decoupled', 'stuck', 'drift']
  const rows = kinds.flatMap((kind, metric) => [...scoresOf(scorer, 1, { kind, metric })])
  return rows.map((score) => (score >= SCORE_AT_THRESHOLD ? '1' : '0')).join('')
}

test('wasm and cpu raise the same alarms', async () => {
  const onWasm = alarmsOf(new Scorer(trained.backend, trained.model))
  const cpu = await openBackend('cpu')
  const onCpu = alarmsOf(new Scorer(cpu, trained.model))
  await openBackend('wasm')
  assert.match(onWasm, /1/)
  assert.equal(onCpu, onWasm)
})

const native = isNativeInstalled() ? false : 'the package @tensorflow/tfjs-node is not installed'
if (native !== false) console.warn(`SKIPPED: models were not calculated with TensorFlow's native library, ${native}`)
test('the native library raises the same alarms', { skip: native }, async () => {
  const onWasm = alarmsOf(new Scorer(trained.backend, trained.model))
  const onNative = alarmsOf(new Scorer(await openBackend('tensorflow'), trained.model))
  await openBackend('wasm')
  assert.equal(onNative, onWasm)
})

test('a score does not depend on what is scored with it', async () => {
  const model = await openModel(trained.bytes, await trained.signer.publicKeys(), { tenant: 'default', type: 'pump', version: 1 })
  const scorer = new Scorer(trained.backend, model)
  const { windows } = await pumpDataset()
  const together = scorer.scores(windows.judge, 60)
  const apart = Array.from({ length: 60 }, (_, k) => scorer.scores(windows.judge.subarray(k * scorer.width), 1)[0])
  assert.deepEqual([...together], apart)
  scorer.dispose()
})
