import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import mqtt from 'mqtt'
import type { Anomaly } from '../contracts/anomaly.ts'
import type { ModelCard } from '../contracts/model.ts'
import { pumpReadings } from '../anomaly/models/testing/synthetic-fleet.ts'
import { systemClock } from '../kernel/time.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * A model from its asking to its first anomaly, in the process that users start: it learns what the device sent, is promoted, finds a fault
 * that no single metric shows, and does so again after a kill.
 */

const DEVICE = 'pump-1'
const NORMAL_ROWS = 900
const ROWS = 1_400
const platform = new PlatformProcess({
  FLEETPULSE_MODELS_TRAINING_ROWS_MIN: '200',
  FLEETPULSE_MODELS_EPOCHS_MAX: '12',
  FLEETPULSE_MODELS_TRAINING_SHARE: '1',
  FLEETPULSE_MODELS_TRAINING_NICE: '0',
  FLEETPULSE_MODELS_REFRESH_MS: '100',
})

before(() => platform.start())
after(() => platform.remove())

test('a model is trained, serves, and explains its anomalies, also after a kill', { timeout: 300_000 }, async () => {
  const { key, cert, ca } = await platform.provision(DEVICE)
  const startTs = systemClock.nowMs() - ROWS * 1_000
  const send = async (
    from: number,
    rows: number,
    fault?: { kind: 'decoupled'; metric: number; fromRow: number; toRow: number },
  ): Promise<void> => {
    const port = platform.ready?.mqtts
    const client = await mqtt.connectAsync(`mqtts://localhost:${port}`, { clientId: DEVICE, key, cert, ca, protocolVersion: 4 })
    const readings = pumpReadings({ device: DEVICE, seed: 1, from, rows, ...(fault === undefined ? {} : { fault }) })
    const told = readings.map(({ values }, k) => ({ ts: startTs + (from + k) * 1_000, values }))
    await client.publishAsync(`devices/${DEVICE}/telemetry`, JSON.stringify(told), { qos: 1 })
    await client.endAsync()
    await until('the readings', async () => (await platform.get<{ stored: number }>('/ledger?summary=true')).stored === from + rows)
  }
  await send(0, NORMAL_ROWS)
  assert.equal((await platform.post('/models', { type: 'generic' })).status, 201)
  const card = (): Promise<ModelCard> => platform.get<ModelCard>('/models/generic@1')
  await until('the model', async () => ['shadow', 'failed'].includes((await card()).state))
  assert.deepEqual([(await card()).state, (await card()).why], ['shadow', null])
  assert.equal((await platform.post('/models/generic@1/promote', {})).status, 200)
  await platform.kill()
  await platform.start()
  await send(NORMAL_ROWS, ROWS - NORMAL_ROWS, { kind: 'decoupled', metric: 4, fromRow: NORMAL_ROWS + 100, toRow: ROWS })
  const anomaly = await until('an anomaly of the model', async () => {
    const { items } = await platform.get<{ items: Anomaly[] }>(`/anomalies?device=${DEVICE}&limit=100`)
    return items.findLast(({ cause, phase }) => cause === 'model' && phase === 'raised')
  })
  const { explanation } = await platform.get<{ explanation: Anomaly['explanation'] }>(`/anomalies/${anomaly.id}/explanation`)
  assert.deepEqual([explanation.parameters.model, explanation.detectorVersion], ['generic@1', 1])
  assert.ok(anomaly.ts >= startTs + (NORMAL_ROWS + 100) * 1_000, 'nothing was raised before the fault')
  assert.equal(explanation.contributions[0]?.part, 'pressure')
  assert.ok((explanation.contributions[0].error ?? -1) >= 0)
  const replayed = JSON.parse(await platform.cli('replay-anomaly', anomaly.id, '--json')) as { status: string; score: number }
  assert.deepEqual([replayed.status, replayed.score], ['same', anomaly.score])
  const metrics = await (await fetch(new URL('/metrics', platform.api))).text()
  assert.match(metrics, /fleetpulse_models_served_models 1/)
  assert.equal((await platform.post('/models/generic@1/retire', {})).status, 200)
  await assert.rejects(platform.cli('replay-anomaly', anomaly.id), {
    code: 1,
    stdout: `score ${anomaly.score} then, no score now: there is no file of model generic@1: it is retired\n`,
  })
  assert.deepEqual(
    (await card()).dataset?.devices.map(({ device }) => device),
    [DEVICE],
  )
  assert.equal((await platform.post(`/devices/${DEVICE}/decommission`, { readings: 'erase', wipe: false })).status, 202)
  await until(
    'the device to be out',
    async () => (await platform.get<{ state: string }>(`/devices/${DEVICE}/decommission`)).state === 'done',
  )
  assert.deepEqual(
    (await card()).dataset?.devices.map(({ device }) => device),
    ['erased'],
  )
})
