// Models trained on the recorded rig (SKAB) raise the same alarms on wasm and on plain JavaScript, and on TensorFlow's native library where it is
// installed. node test/outside/model-backends.mjs DATA
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const at = (path) => import(new URL(`../../dist/anomaly/models/${path}.js`, import.meta.url))
const { isNativeInstalled, openBackend } = await at('backend')
const { Network } = await at('network')
const { Training, eachTold } = await at('training/training')
const { calibrate } = await at('training/calibration')
const { shapeFor } = await at('training/dataset')
const { figureOf, scaleOf } = await at('scaling')
const { jointError, metricErrors, scoreOf, SCORE_AT_THRESHOLD } = await at('scoring')

const LEARN_ROWS = 320
const JUDGE_ROWS = 80
const WINDOW_ROWS = 4
const EPOCHS = 8
const ANSWERS = ['anomaly', 'changepoint']

const root = join(process.argv[2] ?? '../shared/data', 'skab', 'data')
const files = ['other', 'valve1', 'valve2'].flatMap((group) => readdirSync(join(root, group)).map((file) => join(root, group, file)))

/** Figures of the metrics, row by row. */
function figuresOf(file) {
  const [header, ...rows] = readFileSync(file, 'utf8')
    .trim()
    .split(/\r?\n/)
    .map((line) => line.split(';'))
  const columns = [...header.keys()].filter((k) => k > 0 && !ANSWERS.includes(header[k]))
  return columns.map((k) => {
    const values = rows.map((row) => Number(row[k]))
    const scale = scaleOf(header[k], Float64Array.from(values.slice(0, LEARN_ROWS)))
    return values.map((value) => figureOf(scale, value))
  })
}

function windowsOf(metrics, from, to) {
  const windows = []
  for (let row = from; row < to; row++)
    for (let back = WINDOW_ROWS - 1; back >= 0; back--) for (const figures of metrics) windows.push(figures[Math.max(0, row - back)])
  return Float32Array.from(windows)
}

async function trained(file) {
  const metrics = figuresOf(file)
  const shape = shapeFor(metrics.length, WINDOW_ROWS)
  const judge = windowsOf(metrics, LEARN_ROWS, LEARN_ROWS + JUDGE_ROWS)
  const windows = { shape, learn: windowsOf(metrics, WINDOW_ROWS - 1, LEARN_ROWS), judge }
  const training = new Training(await openBackend('wasm'), windows, { seed: 1, epochsMax: EPOCHS, patienceEpochs: EPOCHS })
  while (!training.isDone) await training.learnEpoch()
  training.useBest()
  const { usual, threshold } = calibrate(training.network, windows, { quantile: 0.99, margin: 1.3 })
  const weights = training.network.weights()
  training.network.dispose()
  return { shape, usual, threshold, weights, all: windowsOf(metrics, 0, metrics[0].length) }
}

async function alarmsOn(name, models) {
  const backend = await openBackend(name)
  let alarms = ''
  for (const { shape, usual, threshold, weights, all } of models) {
    const network = new Network(backend, shape)
    network.setWeights(weights)
    const errors = new Float64Array(shape.metrics)
    eachTold(network, all, shape, (some, told, count) => {
      for (let place = 0; place < count; place++) {
        metricErrors(some, told, place, shape, usual, errors)
        alarms += scoreOf(jointError(errors), threshold) >= SCORE_AT_THRESHOLD ? '1' : '0'
      }
    })
    network.dispose()
  }
  return alarms
}

const models = []
for (const file of files) models.push(await trained(file))
const onWasm = await alarmsOn('wasm', models)
assert.match(onWasm, /1/)
assert.equal(await alarmsOn('cpu', models), onWasm, 'plain JavaScript raises other alarms')
if (isNativeInstalled()) assert.equal(await alarmsOn('tensorflow', models), onWasm, 'the native library raises other alarms')
else console.log('SKIPPED LOUDLY: @tensorflow/tfjs-node is not installed, its alarms were not compared')
console.log(`${models.length} models, ${onWasm.length} rows, ${onWasm.replaceAll('0', '').length} alarms: the same on every backend`)
