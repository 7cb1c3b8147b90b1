import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import mqtt from 'mqtt'
import { pumpReadings } from '../../anomaly/models/testing/synthetic-fleet.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { ModelCard } from '../../contracts/model.ts'
import { newId } from '../../kernel/ids.ts'
import { systemClock } from '../../kernel/time.ts'
import { Cluster, type Member } from '../testing/cluster.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/* A model in several processes over Kafka, QuestDB and MongoDB's protocol: one trains, another takes over when it is killed, all of them serve. */

const DEVICE = 'pump-1'
const NORMAL_ROWS = 900
const ROWS = 1_400
const name = `t${newId(systemClock.nowMs()).replaceAll('-', '').slice(-10).toLowerCase()}`
const cluster = new Cluster(
  {
    kafka: serverAddress('kafka'),
    questdbHttp: serverAddress('questdbHttp'),
    questdbPg: serverAddress('questdbPg'),
    mongodb: serverAddress('mongodb'),
  },
  name,
  {
    FLEETPULSE_MODELS_TRAINING_ROWS_MIN: '200',
    FLEETPULSE_MODELS_TRAINING_SHARE: '0.3',
    FLEETPULSE_MODELS_TRAINING_NICE: '0',
    // Longer than a busy machine stalls: a training that changes hands again and again comes to no end.
    FLEETPULSE_MODELS_LEASE_MS: '10000',
    FLEETPULSE_MODELS_REFRESH_MS: '200',
    FLEETPULSE_PLATFORM_PARTITIONS: '2',
  },
)
let front: Member
let firsts: Member[] = []

before(async () => {
  front = await cluster.add('front', 'registry', 'edge', 'dashboard')
  await cluster.add('processing', 'processing')
  firsts = await Promise.all([cluster.add('anomaly-1', 'anomaly'), cluster.add('anomaly-2', 'anomaly')])
})
after(() => cluster.remove())

async function served(member: Member): Promise<boolean> {
  const { operations } = member.process.ready as { operations?: string }
  return /fleetpulse_models_served_models 1/.test(await (await fetch(`${operations}/metrics`)).text())
}

test('a training outlives its process, and what one process signed the others serve', { timeout: 900_000 }, async () => {
  const bundle = await cluster.enrol(DEVICE, 'generic')
  const startTs = systemClock.nowMs() - ROWS * 1_000
  const send = async (from: number, rows: number, decoupledFrom = ROWS): Promise<void> => {
    const { keyPem: key, certPem: cert, caPem: ca } = bundle
    const port = front.process.ready?.mqtts
    const client = await mqtt.connectAsync(`mqtts://localhost:${port}`, { clientId: DEVICE, key, cert, ca, protocolVersion: 4 })
    const fault = { kind: 'decoupled' as const, metric: 4, fromRow: decoupledFrom, toRow: ROWS }
    const readings = pumpReadings({ device: DEVICE, seed: 1, from, rows, ...(decoupledFrom < ROWS ? { fault } : {}) })
    const told = readings.map(({ values }, k) => ({ ts: startTs + (from + k) * 1_000, values }))
    await client.publishAsync(`devices/${DEVICE}/telemetry`, JSON.stringify(told), { qos: 1 })
    await client.endAsync()
    await until('the readings', async () => (await cluster.get<{ stored: number }>('/ledger?summary=true')).stored === from + rows)
  }
  await send(0, NORMAL_ROWS)
  assert.equal((await front.process.post('/models', { type: 'generic' })).status, 201)
  const card = (): Promise<ModelCard> => cluster.get<ModelCard>('/models/generic@1')
  // Training gives way to the road: on a busy machine its share of a core is small, so the waits are long.
  await until('two epochs', async () => (await card()).progress.epoch >= 2, 300_000)
  await Promise.all(firsts.map((member) => member.process.kill()))
  const left = await card()
  assert.equal(left.state, 'training')
  const third = await cluster.add('anomaly-3', 'anomaly')
  await until('the model', async () => ['shadow', 'failed'].includes((await card()).state), 300_000)
  const done = await card()
  assert.deepEqual([done.state, done.why], ['shadow', null])
  assert.ok(done.progress.epoch > left.progress.epoch && done.progress.trainedMs > left.progress.trainedMs, 'it went on')
  assert.equal((await front.process.post('/models/generic@1/promote', {})).status, 200)
  const [first] = firsts as [Member]
  await cluster.start(first)
  await until('every process to serve it', async () => (await served(third)) && (await served(first)))
  await send(NORMAL_ROWS, ROWS - NORMAL_ROWS, NORMAL_ROWS + 100)
  const anomaly = await until('an anomaly of the model', async () => {
    const { items } = await cluster.get<{ items: Anomaly[] }>(`/anomalies?device=${DEVICE}&limit=100`)
    return items.find(({ cause, phase }) => cause === 'model' && phase === 'raised')
  })
  assert.equal(anomaly.explanation.parameters.model, 'generic@1')
})
