import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import mqtt, { type MqttClient } from 'mqtt'
import type { Alert } from '../../contracts/alert.ts'
import type { Conversation, Message } from '../../contracts/conversation.ts'
import { newId } from '../../kernel/ids.ts'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { withTimeout } from '../../kernel/retry.ts'
import { systemClock } from '../../kernel/time.ts'
import type { DeviceBundle } from '../../provisioning/doors/device-bundle.ts'
import { Cluster, type Member } from '../testing/cluster.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/* Every target a process of its own, edge, processing, anomaly, alerts and agents twice, over Kafka, QuestDB and MongoDB's protocol. */

const DROP_TIMEOUT_MS = 60_000
const REVOKED = 6
const name = `t${newId(systemClock.nowMs()).replaceAll('-', '').slice(-10).toLowerCase()}`
const cluster = new Cluster(
  {
    kafka: serverAddress('kafka'),
    questdbHttp: serverAddress('questdbHttp'),
    questdbPg: serverAddress('questdbPg'),
    mongodb: serverAddress('mongodb'),
  },
  name,
)
let edges: Member[] = []
let bundle: DeviceBundle

before(async () => {
  await cluster.add('registry', 'registry')
  await cluster.add('dashboard', 'dashboard')
  edges = await Promise.all([cluster.add('edge-1', 'edge'), cluster.add('edge-2', 'edge')])
  await Promise.all([cluster.add('processing-1', 'processing'), cluster.add('processing-2', 'processing')])
  await Promise.all([
    cluster.add('anomaly-1', 'anomaly'),
    cluster.add('anomaly-2', 'anomaly'),
    cluster.add('alerts-1', 'alerts'),
    cluster.add('alerts-2', 'alerts'),
    cluster.add('agents-1', 'agents'),
    cluster.add('agents-2', 'agents'),
  ])
  bundle = await cluster.enrol('pump-1', 'generic')
})
after(() => cluster.remove())

function connect(edge: Member, clientId = 'pump-1', { keyPem: key, certPem: cert, caPem: ca }: DeviceBundle = bundle): Promise<MqttClient> {
  const options = {
    clientId,
    key,
    cert,
    ca,
    clean: false,
    reconnectPeriod: 0,
    protocolVersion: 4 as const,
  }
  // Without retries: a refusal is told.
  return mqtt.connectAsync(`mqtts://localhost:${edge.process.ready?.mqtts}`, options, false)
}

test('every process says that it is ready, on its own operations port', async () => {
  for (const member of cluster.members) {
    const { operations, api } = member.process.ready as { operations?: string; api?: string }
    const answer = await fetch(`${operations ?? api}/readyz`)
    assert.equal(answer.status, 200, `${member.name}: ${await answer.text()}`)
    const metrics = await (await fetch(`${operations ?? api}/metrics`)).text()
    assert.match(metrics, /process_cpu_user_seconds_total/, member.name)
  }
})

test('a device goes wrong: from its certificate to the alert through six kinds of process', async () => {
  const client = await connect(edges[0] as Member)
  const random = seededRandom(5)
  const startTs = systemClock.nowMs() - 500_000
  for (let seq = 0; seq < 405; seq++) {
    const pressure = seq < 400 ? 6 + 0.05 * gaussian(random) : 19
    await client.publishAsync(
      'devices/pump-1/telemetry',
      JSON.stringify({ ts: startTs + seq * 1_000, boot: 'b1', seq, values: { pressure } }),
      { qos: 1 },
    )
  }
  const alert = await until(
    'an alert',
    async () => (await cluster.get<{ items: Alert[] }>('/alerts?state=open&device=pump-1')).items[0],
    30_000,
  )
  assert.equal(alert.metric, 'pressure')
  assert.equal(alert.startedAt, startTs + 400_000)
  const sums = await until('the ledger', async () => {
    const found = await cluster.get<Record<string, number>>('/ledger?summary=true')
    return found.stored === 405 && found
  })
  assert.deepEqual(sums, { received: 405, acked: 405, stored: 405, rejected: 0, late: 0, duplicate: 0, missing: 0 })
  const { items } = await cluster.get<{ items: { seq: number }[] }>('/readings?device=pump-1&limit=1000')
  assert.deepEqual(
    items.map(({ seq }) => seq).reverse(),
    Array.from({ length: 405 }, (_, seq) => seq),
  )
  await client.endAsync()
})

test('the processes of the agents talk about it, and another process shows their digest and lets a person ask', async () => {
  const talk = await until('a digest is published', async () => {
    const { items } = await cluster.get<{ items: Conversation[] }>('/conversations?search=pump-1')
    return items.find(({ revision }) => revision > 0)
  })
  const messages = async (): Promise<Message[]> => (await cluster.get<{ items: Message[] }>(`/conversations/${talk.id}/messages`)).items
  const said = await messages()
  assert.deepEqual(said.map(({ from }) => from).slice(0, 4), ['agent:triage', 'agent:diagnostics', 'agent:historian', 'agent:reporter'])
  assert.deepEqual(
    said.map(({ seq }) => seq),
    said.map((_, i) => i + 1),
  )
  const digest = await cluster.get<{ headline: string; label: string; evidence: Record<string, string> }>(`/incidents/${talk.id}/digest`)
  assert.match(digest.headline, /pump-1/)
  assert.equal(digest.label, 'Written by rules and statistics, no language model')
  for (const id of Object.values(digest.evidence)) assert.equal((await cluster.get<{ id: string }>(`/evidence/${id}`)).id, id)

  const { status } = await cluster.with('dashboard').process.post(`/conversations/${talk.id}/join`, {})
  assert.equal(status, 200)
  await cluster.with('dashboard').process.post(`/conversations/${talk.id}/messages`, { content: 'What should I check next?' })
  const answer = await until('an answer', async () => (await messages()).find(({ kind }) => kind === 'answer'))
  assert.equal(answer.from, 'agent:reporter')
  const turns = new Map(await Promise.all(cluster.members.map(async (member) => [member.name, await turnsOf(member)] as const)))
  const elsewhere = [...turns].filter(([member, count]) => count > 0 && !member.startsWith('agents-'))
  assert.deepEqual(elsewhere, [], 'the turns are those of the agents')
  assert.ok((turns.get('agents-1') ?? 0) + (turns.get('agents-2') ?? 0) >= 5)
})

/** Turns that agents took in this process. */
async function turnsOf({ process }: Member): Promise<number> {
  const { operations, api } = process.ready as { operations?: string; api?: string }
  const text = await (await fetch(`${operations ?? api}/metrics`)).text()
  return [...text.matchAll(/^fleetpulse_agents_turns_total\{[^}]*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
}

test('a device that connects to the second edge is dropped by the first', async () => {
  const first = await connect(edges[0] as Member)
  const dropped = new Promise<void>((resolve) => first.once('close', () => resolve()))
  const second = await connect(edges[1] as Member)
  await withTimeout(systemClock, DROP_TIMEOUT_MS, 'the first edge to drop the device', dropped)
  await second.publishAsync('devices/pump-1/telemetry', JSON.stringify({ boot: 'b2', seq: 0, values: { pressure: 6 } }), { qos: 1 })
  assert.equal(second.connected, true)
  await second.endAsync()
})

test('a revoked device is gone in under a second, whichever edge it is on', async () => {
  const tookMs: number[] = []
  for (let i = 0; i < REVOKED; i++) {
    const device = `revoked-${i}`
    const theirs = await cluster.enrol(device, 'generic')
    const client = await connect(edges[i % 2] as Member, device, theirs)
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
    const { items } = await cluster.get<{ items: { serial: string }[] }>(`/certificates?device=${device}&state=valid`)
    const startedMs = systemClock.monotonicMs()
    await cluster.with('dashboard').process.post(`/certificates/${items[0]?.serial}/revoke`, { reason: 'keyCompromise' })
    await withTimeout(systemClock, DROP_TIMEOUT_MS, 'the revoked device to be dropped', closed)
    tookMs.push(systemClock.monotonicMs() - startedMs)
    await assert.rejects(
      withTimeout(systemClock, DROP_TIMEOUT_MS, 'the refusal', connect(edges[(i + 1) % 2] as Member, device, theirs)),
      (error: Error) => !error.message.includes('took longer'),
    )
  }
  // One is enough to say that nothing on the way waits for its turn; how long many take is for `bench revocation`, on a quiet machine.
  assert.ok(Math.min(...tookMs) < 1_000, `${tookMs.join(', ')} ms`)
})

test('SIGTERM ends each process with 0', async () => {
  const codes = await Promise.all(cluster.members.map(async (member) => [member.name, await member.process.stop()]))
  assert.deepEqual(
    codes,
    cluster.members.map((member) => [member.name, 0]),
  )
})
