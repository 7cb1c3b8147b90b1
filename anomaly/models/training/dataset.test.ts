import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Anomaly } from '../../../contracts/anomaly.ts'
import type { Feedback } from '../../../contracts/feedback.ts'
import { FleetpulseError } from '../../../kernel/errors.ts'
import { atOnce, modelsConfig, PUMPS_START, pumpSources } from '../testing/trained-model.ts'
import { buildDataset } from './dataset.ts'
import type { DatasetSources } from './dataset-sources.ts'
import { exclusionsOf } from './normal-readings.ts'

const ROWS = 900
const at = (row: number): number => PUMPS_START + row * 1_000

function build(changes: Partial<DatasetSources> = {}, config = modelsConfig(), seed = 1) {
  return buildDataset({ tenant: 'default', type: 'pump', config, seed, nowMs: at(ROWS), pace: atOnce() }, pumpSources(3, ROWS, changes))
}

function anomaly(phase: Anomaly['phase'], row: number, changes: Partial<Anomaly> = {}): Anomaly {
  return { id: `${phase}-${row}`, device: 'pump-0', metric: 'flow', cause: 'value', phase, ts: at(row), ...changes } as Anomaly
}

function label(verdict: Feedback['verdict'], fromRow: number, toRow: number, changes: Partial<Feedback> = {}): Feedback {
  return {
    id: `${verdict}-${fromRow}`,
    device: 'pump-0',
    verdict,
    fromTs: at(fromRow),
    toTs: at(toRow),
    anomaly: null,
    ...changes,
  } as Feedback
}

test('the same readings and seed are the same dataset; what is held out is later than what is learnt', async () => {
  const { dataset, windows, scales, spreads } = await build()
  assert.deepEqual((await build()).dataset, dataset)
  assert.deepEqual(
    dataset.metrics,
    scales.map(({ name }) => name),
  )
  assert.equal(dataset.metrics.length, 8)
  assert.ok(dataset.judgeFromTs > at(0.75 * ROWS) && dataset.judgeFromTs < at(0.85 * ROWS))
  const share = dataset.judgeRows / (dataset.judgeRows + dataset.learnRows)
  assert.ok(share > 0.15 && share < 0.25, `${share} is held out`)
  assert.ok(spreads.every(({ deciles }) => deciles.length === 9 && deciles.every((edge, k) => k === 0 || edge >= deciles[k - 1]!)))
  assert.equal(windows.learn.length, dataset.learnRows * 32)
  assert.equal(
    dataset.devices.reduce((sum, { rows }) => sum + rows, 0),
    dataset.learnRows + dataset.judgeRows,
  )
})

test('confirmed times and anomalies that nobody rejected are kept out, and it is written down which', async () => {
  const config = modelsConfig({ trainingRowsMax: 20_000 })
  const whole = await build({}, config)
  const labels = [label('confirmed', 100, 150), label('rejected', 300, 340, { anomaly: 'raised-300' })]
  const anomalies = [anomaly('raised', 300), anomaly('cleared', 340), anomaly('raised', 500), anomaly('cleared', 520)]
  const { dataset } = await build(
    {
      labelsOf: async () => labels,
      anomaliesOf: async (_tenant, device) => (device === 'pump-0' ? anomalies : []),
    },
    config,
  )
  assert.deepEqual(
    dataset.excluded.map(({ why, id, fromTs, toTs }) => [why, id, fromTs, toTs]),
    [
      ['confirmed', 'confirmed-100', at(100), at(150)],
      ['anomaly', 'raised-500', at(500), at(520)],
    ],
  )
  assert.equal(dataset.excludedRows, 51 + 21)
  assert.deepEqual(dataset.labels, ['confirmed-100', 'rejected-300'])
  assert.ok(dataset.learnRows <= whole.dataset.learnRows - 72, 'windows that reach into them are out too')
  assert.notEqual(dataset.id, whole.dataset.id)
})

test('what raised and cleared an anomaly belong together, by metric and cause', () => {
  const out = (anomalies: Anomaly[], labels: Feedback[] = []) =>
    exclusionsOf('pump-0', anomalies, labels).map(({ id, fromTs, toTs }) => [id, (toTs - fromTs) / 1_000])
  assert.deepEqual(out([anomaly('raised', 1), anomaly('raised', 5), anomaly('cleared', 9)]), [['raised-1', 8]], 'raised again, as critical')
  assert.deepEqual(out([anomaly('raised', 1), anomaly('raised', 2, { metric: 'speed' }), anomaly('cleared', 4)]), [
    ['raised-1', 3],
    ['raised-2', 3_600],
  ])
  assert.deepEqual(out([anomaly('raised', 1, { cause: 'silence' }), anomaly('cleared', 9, { cause: 'silence' })]), [])
  assert.deepEqual(
    out([anomaly('raised', 1), anomaly('cleared', 9)], [label('rejected', 0, 3)]),
    [],
    'a range that is normal covers its beginning',
  )
  assert.deepEqual(out([], [label('confirmed', 1, 2, { device: 'pump-1' })]), [], "another device's")
})

test('too few readings, devices or metrics are said', async () => {
  const refused = (pattern: RegExp) => (error: unknown) =>
    error instanceof FleetpulseError && error.code === 'MODEL_UNTRAINABLE' && pattern.test(error.message)
  await assert.rejects(build({ devicesOf: async () => [] }), refused(/no device/))
  await assert.rejects(build({ devicesOf: async () => ['unknown'] }), refused(/0 metrics/))
  await assert.rejects(build({}, modelsConfig({ trainingRowsMin: 2_000, trainingRowsMax: 2_000 })), refused(/windows of normal readings/))
})

test('devices are drawn by the seed, rows bounded', async () => {
  const one = (seed: number) => build({}, modelsConfig({ trainingDevicesMax: 1, trainingRowsMax: 300 }), seed)
  const drawn = await Promise.all(
    [1, 2, 3, 4, 5, 6].map(async (seed) => (await one(seed)).dataset.devices.map(({ device }) => device).join()),
  )
  assert.ok(new Set(drawn).size > 1)
  const { dataset } = await one(1)
  assert.ok(dataset.learnRows + dataset.judgeRows <= 300)
})
