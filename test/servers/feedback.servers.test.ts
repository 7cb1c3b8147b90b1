import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import mqtt, { type MqttClient } from 'mqtt'
import { FEEDBACK_ADOPTIONS_COLLECTION } from '../../contracts/feedback-change.ts'
import { PEER_ADOPTIONS_COLLECTION, PEER_SUMMARIES_COLLECTION } from '../../anomaly/peers/peer-summary.ts'
import { POLICY_ADOPTIONS_COLLECTION } from '../../anomaly/policies/policy.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { Feedback } from '../../contracts/feedback.ts'
import { newId } from '../../kernel/ids.ts'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { systemClock } from '../../kernel/time.ts'
import { documentsOn } from '../../storage/documents/testing/mongodb-fixture.ts'
import { Cluster, type Member } from '../testing/cluster.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/*
 * What people say of anomalies, the thresholds they set, and what a device is among its peers, in two anomaly processes over Kafka, QuestDB and
 * MongoDB's protocol: devices of one type lie in all partitions, and what holds for one holds for all of them.
 */

const PARTITIONS = 4
const DEVICES = Array.from({ length: 8 }, (_, k) => `pump-${k}`)
const ODD = 5
const ODD_FROM_ROW = 660
const EVENT_ROWS = [220, 370, 520, 670, 820] as const
const EVENT_LENGTH = 8
/** Rows of these ends are sent at once: up to before the second event, the third, …, and at last some slots of the odd device. */
const ENDS = [300, 450, 600, 750, 900, 1_020, 1_021] as const
const SLOT_MS = 60_000
const WAIT_MAX_MS = 180_000
const name = `t${newId(systemClock.nowMs()).replaceAll('-', '').slice(-10).toLowerCase()}`
const startTs = Math.floor((systemClock.nowMs() - 1_200_000) / SLOT_MS) * SLOT_MS
const cluster = new Cluster(
  {
    kafka: serverAddress('kafka'),
    questdbHttp: serverAddress('questdbHttp'),
    questdbPg: serverAddress('questdbPg'),
    mongodb: serverAddress('mongodb'),
  },
  name,
  {
    FLEETPULSE_PLATFORM_PARTITIONS: String(PARTITIONS),
    FLEETPULSE_ANOMALY_FEEDBACK_POLL_MS: '100',
    FLEETPULSE_ANOMALY_PEERS_SLOT_MS: String(SLOT_MS),
    // Until the slowest device has told its slots, and the slower process its part of them: what comes later is not compared.
    FLEETPULSE_ANOMALY_PEERS_POLL_MS: '2000',
    FLEETPULSE_ANOMALY_PEERS_WAIT_MS: '10000',
  },
)
const documents = documentsOn({ url: serverAddress('mongodb'), database: name })
let front: Member
let scorers: Member[] = []
let clients: MqttClient[] = []
let sentRows = 0
let beats = 0

before(async () => {
  front = await cluster.add('front', 'registry', 'edge', 'dashboard', 'processing')
  scorers = await Promise.all([cluster.add('anomaly-1', 'anomaly'), cluster.add('anomaly-2', 'anomaly')])
  clients = await Promise.all(DEVICES.map(connect))
  await documents.start()
})
after(async () => {
  await Promise.all(clients.map((client) => client.endAsync()))
  await documents.stop()
  await cluster.remove()
})

/** Each event is larger than the last: what came once is no longer new by itself. */
function valuesOf(device: number): { flow: number; heat: number }[] {
  const random = seededRandom(`said ${device}`)
  const rows = Array.from({ length: ENDS.at(-1) ?? 0 }, (_, row) => ({
    flow: 20 + 0.5 * gaussian(random),
    heat: 40 + 0.4 * device + gaussian(random) + (device === ODD && row >= ODD_FROM_ROW ? 30 : 0),
  }))
  for (const [k, from] of EVENT_ROWS.entries()) for (let row = from; row < from + EVENT_LENGTH; row++) rows[row]!.flow += 6 * 1.3 ** k
  return rows
}
const said = DEVICES.map((_, device) => valuesOf(device))

async function metric(member: Member, wanted: RegExp): Promise<number> {
  const { operations } = member.process.ready as { operations?: string }
  const text = await (await fetch(`${operations}/metrics`)).text()
  return text
    .split('\n')
    .filter((line) => wanted.test(line))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

async function connect(clientId: string): Promise<MqttClient> {
  const { keyPem: key, certPem: cert, caPem: ca } = await cluster.enrol(clientId, 'generic')
  return mqtt.connectAsync(`mqtts://localhost:${front.process.ready?.mqtts}`, { clientId, key, cert, ca, protocolVersion: 4 })
}

function publish(readings: (device: number) => object): Promise<unknown> {
  return Promise.all(
    clients.map((client, device) =>
      client.publishAsync(`devices/${DEVICES[device]}/telemetry`, JSON.stringify(readings(device)), { qos: 1 }),
    ),
  )
}

/** Every device's rows up to `end`; resolves when all of them are judged. */
async function send(end: number): Promise<void> {
  const from = sentRows
  sentRows = end
  await publish((device) => said[device]!.slice(from, end).map((values, k) => ({ ts: startTs + (from + k) * 1_000, values })))
  await until('every reading to be judged', async () => {
    const judged = await Promise.all(scorers.map((member) => metric(member, /^fleetpulse_anomaly_readings_total/)))
    return judged.reduce((sum, count) => sum + count, 0) === (end + beats) * DEVICES.length
  })
}

/** One more reading of each device, of something else: changes are adopted with the next reading that comes. */
async function beat(): Promise<void> {
  beats++
  await publish(() => ({ ts: startTs + (sentRows - 1) * 1_000 + (beats % 999) + 1, values: { beats } }))
}

/** Until every partition goes by a change: what is read after that does so too. */
async function adopted(collection: string, number: number): Promise<void> {
  const adoptions = await documents.collection<{ adoptions: { number: number }[] }>({ name: collection, indexes: [] })
  await until(`all partitions to adopt ${number} of ${collection}`, async () => {
    await beat()
    const found = await adoptions.find({})
    const upToDate = found.filter(({ _id, adoptions: list }) => _id.startsWith('anomaly/') && (list.at(-1)?.number ?? 0) >= number)
    return upToDate.length === PARTITIONS
  })
}

/** Until the slots that are over are compared from the next readings on. */
async function summarised(slots: number): Promise<void> {
  const summaries = await documents.collection({ name: PEER_SUMMARIES_COLLECTION, indexes: [] })
  await until(`${slots} slots to be summarised`, async () => (await summaries.count({})) >= slots, WAIT_MAX_MS)
  await adopted(PEER_ADOPTIONS_COLLECTION, slots)
}

async function put(policies: object[]): Promise<number> {
  const answer = await fetch(`${front.process.api}/api/v1/detectors/policies`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${front.process.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ policies }),
  })
  assert.equal(answer.status, 200, await answer.clone().text())
  return ((await answer.json()) as { version: number }).version
}

async function raisedOf(device: string, wanted: Partial<Anomaly>): Promise<Anomaly[]> {
  const { items } = await cluster.get<{ items: Anomaly[] }>(`/anomalies?device=${device}&limit=1000`)
  const pairs = Object.entries({ ...wanted, phase: 'raised' })
  return items.filter((one) => pairs.every(([key, value]) => one[key as keyof Anomaly] === value))
}

const rowOf = ({ ts }: Anomaly): number => (ts - startTs) / 1_000
const eventOf = (row: number): number => EVENT_ROWS.findIndex((from) => row >= from && row < from + 30)

test('a rejected pattern, its undoing, policies and peers hold at every process alike', { timeout: 300_000 }, async () => {
  const [first] = DEVICES as [string]
  await send(ENDS[0])
  const anomaly = await until('the first anomaly', async () => {
    const found = await raisedOf(first, { metric: 'flow', cause: 'value' })
    return found.find((one) => eventOf(rowOf(one)) === 0)
  })
  const judged = await front.process.post<Feedback>(`/anomalies/${anomaly.id}/feedback`, { verdict: 'rejected', scope: { kind: 'fleet' } })
  assert.equal(judged.status, 201)
  const applied = await front.process.post<Feedback>(`/feedback/${judged.body.id}/apply`, {})
  assert.equal(applied.status, 200, JSON.stringify(applied.body))
  await adopted(FEEDBACK_ADOPTIONS_COLLECTION, 1)
  await send(ENDS[1])
  const quieted = await Promise.all(scorers.map((member) => metric(member, /^fleetpulse_anomaly_quieted_anomalies_total/)))
  assert.ok(
    quieted.every((count) => count > 0),
    `quieted ${quieted.join(' and ')}: not at every process`,
  )
  assert.equal((await front.process.post(`/feedback/${judged.body.id}/undo`, {})).status, 200)
  await adopted(FEEDBACK_ADOPTIONS_COLLECTION, 2)
  await send(ENDS[2])
  await adopted(POLICY_ADOPTIONS_COLLECTION, await put([{ type: '*', metric: 'flow', device: '*', alertThreshold: 1 }]))
  await summarised(slotsBefore(ENDS[2]))
  await send(ENDS[3])
  await adopted(POLICY_ADOPTIONS_COLLECTION, await put([]))
  await send(ENDS[4])
  await summarised(slotsBefore(ENDS[4]))
  await send(ENDS[5])
  await summarised(slotsBefore(ENDS[5]))
  await send(ENDS[6])

  const partitions = new Set<number>()
  for (const device of DEVICES) {
    const events = await until(`the last event of ${device}`, async () => {
      const found = (await raisedOf(device, { metric: 'flow', cause: 'value' })).map(
        (one) => (partitions.add(one.partition), eventOf(rowOf(one))),
      )
      return found.includes(4) && found
    })
    // The second one was rejected, the fourth below the threshold.
    assert.deepEqual([...new Set(events)].filter((k) => k >= 0).sort(), [0, 2, 4], device)
  }
  assert.ok(partitions.size >= 3, `devices lie in ${partitions.size} partitions`)
  await odd()
})

/** Slots that every device is through with once it has sent these rows. */
function slotsBefore(rows: number): number {
  return Math.floor(((rows - 1) * 1_000) / SLOT_MS)
}

async function odd(): Promise<void> {
  const device = DEVICES[ODD] as string
  const [anomaly] = await until('the odd device', async () => {
    const found = await raisedOf(device, { cause: 'peers' })
    return found.length > 0 && found
  })
  assert.ok(anomaly !== undefined && rowOf(anomaly) > ODD_FROM_ROW)
  const { parameters, contributions } = anomaly.explanation
  assert.deepEqual([parameters.peers, contributions[0]?.part], [DEVICES.length - 1, 'heat'])
  const others = await Promise.all(DEVICES.filter((one) => one !== device).map((one) => raisedOf(one, { cause: 'peers' })))
  assert.deepEqual(others.flat(), [], 'nobody else is odd')
  const replayed = JSON.parse(await front.process.cli('replay-anomaly', anomaly.id, '--json')) as { status: string; readings: number }
  assert.ok(replayed.status === 'same' && replayed.readings >= 60, JSON.stringify(replayed))
}
