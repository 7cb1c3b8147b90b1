import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { anomaly, anomalyMessage } from '../../alerts/alerts-testing.ts'
import type { Alert } from '../../contracts/alert.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { Incident } from '../../contracts/incident.ts'
import { newId } from '../../kernel/ids.ts'
import { seededRandom } from '../../kernel/random.ts'
import { systemClock } from '../../kernel/time.ts'
import { openKafkaLog, type OpenedKafkaLog } from '../../storage/event-log/kafka-testing.ts'
import { Cluster, type Member } from '../testing/cluster.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/* Alerts, incidents and webhooks in two processes that share the work, over Kafka and MongoDB's protocol; one of them is killed. */

const SEED = Number(process.env.TEST_SEED ?? 7)
/** Groups of consumers form anew when a process starts, and what a killed one had claimed is waited for: long on a busy machine, in ms. */
const NOTICE_PATIENCE_MS = 300_000
const TRIGGERS = 200
const STORM = 1_500
const name = `a${newId(systemClock.nowMs()).slice(-10)}`
const cluster = new Cluster(
  {
    kafka: serverAddress('kafka'),
    questdbHttp: serverAddress('questdbHttp'),
    questdbPg: serverAddress('questdbPg'),
    mongodb: serverAddress('mongodb'),
  },
  name,
  {
    FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'true',
    FLEETPULSE_WEBHOOKS_ALLOW_PRIVATE_TARGETS: 'true',
    FLEETPULSE_WEBHOOKS_PENDING_PER_ENDPOINT_MAX: '100000',
    // Soon after a death the rest goes on.
    FLEETPULSE_KAFKA_SESSION_TIMEOUT_MS: '6000',
    FLEETPULSE_WEBHOOKS_RESCAN_INTERVAL_MS: '1000',
  },
)
/** What came, by idempotency id: what it told, and how often. */
const received = new Map<string, { type: string; alert?: string; device?: string; incident?: string; times: number }>()
let unnamed = 0
const receiver = createServer((request, response) => {
  let body = ''
  request.on('data', (piece: Buffer) => (body += piece.toString()))
  request.on('end', () => {
    const { type, data } = JSON.parse(body) as { type: string; data: { alert?: Alert; incident?: Incident } }
    const id = request.headers['webhook-id']
    if (typeof id !== 'string') unnamed++
    else {
      const told = {
        type,
        ...(data.alert && { alert: data.alert.id, device: data.alert.device }),
        ...(data.incident && { incident: data.incident.id }),
      }
      const known = received.get(id)
      if (known === undefined) received.set(id, { ...told, times: 1 })
      else assert.deepEqual({ ...known, times: 0 }, { ...told, times: 0 }, 'an id names one thing')
      if (known !== undefined) known.times++
    }
    response.writeHead(204).end()
  })
})
let opened: OpenedKafkaLog
let workers: Member[] = []

before(async () => {
  await cluster.add('desk', 'registry', 'dashboard')
  workers = await Promise.all([cluster.add('alerts-1', 'alerts'), cluster.add('alerts-2', 'alerts')])
  opened = await openKafkaLog(serverAddress('kafka'), { topicPrefix: `${name}.` })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  const { status } = await cluster.with('dashboard').process.post('/webhooks', { url, events: ['alert.opened', 'incident.opened'] })
  assert.equal(status, 201)
})
after(async () => {
  await opened?.dispose()
  await cluster.remove()
  receiver.closeAllConnections()
  receiver.close()
})

const alertsOf = async (query: string): Promise<Alert[]> => (await cluster.get<{ items: Alert[] }>(`/alerts?limit=200&${query}`)).items

test('two hundred parallel triggers of one cause, whichever process gets them, are one open alert, told once', async () => {
  const triggers = Array.from({ length: TRIGGERS }, (_, i) =>
    anomaly({ id: `trigger-${i}`, device: 'pump-1', receivedAt: systemClock.nowMs() }),
  )
  // Keys of their own bring them to all partitions, and so to both processes.
  await Promise.all(triggers.map((each, i) => opened.log.append('anomalies', [{ ...anomalyMessage(each), key: `default/any-${i}` }])))
  const [alert] = await until('all of them', async () => {
    const found = await alertsOf('device=pump-1')
    return found.reduce((sum, { anomalyCount }) => sum + anomalyCount, 0) >= TRIGGERS && found
  })
  const all = await alertsOf('device=pump-1')
  assert.deepEqual([all.length, alert?.state, alert?.anomalyCount], [1, 'open', TRIGGERS])
  await until('the webhook', () => Promise.resolve(told('pump-1').length > 0), NOTICE_PATIENCE_MS)
  assert.deepEqual(
    told('pump-1').map(({ times, alert: id }) => [times, id]),
    [[1, alert?.id]],
  )
  const [counted] = await alertsOf('device=pump-1')
  assert.equal(counted?.anomalyCount, TRIGGERS, 'what came again was not counted again')
})

test('a storm through the kill of one of two workers: no alert lost or doubled, few incidents, each id one thing', async () => {
  const random = seededRandom(SEED)
  const storm = Array.from({ length: STORM }, (_, i): Anomaly => {
    const about = { id: `storm-${i}`, device: `device-${i}`, type: `type-${i % 7}`, metric: '', cause: 'silence' as const }
    return anomaly({ ...about, receivedAt: systemClock.nowMs() })
  })
  const killAt = Math.floor(STORM * (0.2 + 0.4 * random.next()))
  for (let from = 0; from < STORM; from += 100) {
    await opened.log.append('anomalies', storm.slice(from, from + 100).map(anomalyMessage))
    if (from <= killAt && killAt < from + 100) await workers[Math.floor(random.next() * 2)]?.process.kill()
  }
  await until('an alert of each device', () => Promise.resolve(devicesTold() >= STORM), NOTICE_PATIENCE_MS)
  const openedTwice = [...alertsByDevice().values()].filter((ids) => ids.size !== 1).length
  assert.deepEqual({ openedTwice, unnamed, seed: SEED }, { openedTwice: 0, unnamed: 0, seed: SEED })
  const { items } = await cluster.get<{ items: Incident[] }>('/incidents?limit=200')
  const ofStorm = items.filter(({ cause }) => cause === 'silence')
  assert.ok(ofStorm.length >= 1 && ofStorm.length <= 5, `${ofStorm.length} incidents`)
  await until('the notices of the incidents', () => Promise.resolve(noticesOf(ofStorm).length >= ofStorm.length))
  assert.equal(noticesOf(ofStorm).length, ofStorm.length, 'one notice for each')
  const counted = await until('the counts', async () => {
    const now = (await cluster.get<{ items: Incident[] }>('/incidents?limit=200')).items.filter(({ cause }) => cause === 'silence')
    return now.reduce((sum, { alertCount }) => sum + alertCount, 0) === STORM && now
  })
  assert.equal(counted.length, ofStorm.length)
})

function told(device: string) {
  return [...received.values()].filter((each) => each.device === device)
}
function noticesOf(incidents: readonly Incident[]) {
  return [...received.values()].filter(({ incident }) => incidents.some(({ id }) => id === incident))
}
function alertsByDevice(): Map<string, Set<string>> {
  const byDevice = new Map<string, Set<string>>()
  for (const { device, alert } of received.values()) {
    if (device !== undefined && alert !== undefined) byDevice.set(device, (byDevice.get(device) ?? new Set()).add(alert))
  }
  return byDevice
}
function devicesTold(): number {
  return [...alertsByDevice().keys()].filter((device) => device.startsWith('device-')).length
}
