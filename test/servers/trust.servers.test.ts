import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import mqtt, { type MqttClient } from 'mqtt'
import type { JobView } from '../../device-registry/decommission/job.ts'
import { newId } from '../../kernel/ids.ts'
import { systemClock } from '../../kernel/time.ts'
import { newDeviceRequest } from '../../provisioning/doors/device-bundle.ts'
import { skipWithout } from '../../provisioning/testing/openssl.ts'
import { Cluster, type Member } from '../testing/cluster.ts'
import { Factory } from '../testing/factory.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/* Device trust where registry, dashboard, processing and two edges are processes of their own: doors at an edge, CAs that cross over, leaving, audit. */

const cluster = new Cluster(
  {
    kafka: serverAddress('kafka'),
    questdbHttp: serverAddress('questdbHttp'),
    questdbPg: serverAddress('questdbPg'),
    mongodb: serverAddress('mongodb'),
  },
  `t${newId(systemClock.nowMs()).replaceAll('-', '').slice(-10).toLowerCase()}`,
  { FLEETPULSE_PROVISIONING_CROSS_OVER_DELAY_MS: '4000', FLEETPULSE_PROVISIONING_AUTHORITY_POLL_MS: '200' },
)
const clients: MqttClient[] = []
let edges: Member[] = []
let ca = ''

before(async () => {
  await cluster.add('registry', 'registry')
  await cluster.add('dashboard', 'dashboard')
  await cluster.add('processing', 'processing')
  edges = await Promise.all([cluster.add('edge-1', 'edge'), cluster.add('edge-2', 'edge')])
  ca = readFileSync(join(cluster.with('registry').process.data, 'pki', 'ca.pem'), 'utf8')
})
after(async () => {
  for (const client of clients) client.end(true)
  await cluster.remove()
})

interface Holder {
  key: string
  cert: string
}

async function connect(edge: number, clientId: string, { key, cert }: Holder): Promise<MqttClient> {
  const url = `mqtts://localhost:${edges[edge]?.process.ready?.mqtts}`
  const client = await mqtt.connectAsync(url, { clientId, key, cert, ca, clean: true, reconnectPeriod: 0, protocolVersion: 4 }, false)
  clients.push(client)
  return client
}

const post = <T>(path: string, body: object): Promise<{ status: number; body: T }> => cluster.with('dashboard').process.post<T>(path, body)
const stateOf = async (device: string): Promise<string> => (await cluster.get<{ state: string }>(`/devices/${device}`)).state

test('claim: an edge takes the request, the registry signs, the device speaks at the other edge', async () => {
  const batch = await newDeviceRequest('line-1')
  const made = await post<{ certificate: string }>('/claims', { id: 'line-1', csr: batch.csrPem, devicesMax: 2, devices: 'c-*' })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  const line = await until('the edge to know the claim', () =>
    connect(0, 'line', { key: batch.keyPem, cert: made.body.certificate }).catch(() => undefined),
  )
  await line.subscribeAsync('provisioning/a/response', { qos: 1 })
  const answered = new Promise<{ status: string; certificate: string }>((resolve) =>
    line.on('message', (_topic, payload) => resolve(JSON.parse(payload.toString()) as { status: string; certificate: string })),
  )
  const own = await newDeviceRequest('c-1')
  await line.publishAsync('provisioning/a/request', JSON.stringify({ device: 'c-1', csr: own.csrPem }), { qos: 1 })
  const answer = await answered
  assert.equal(answer.status, 'issued', JSON.stringify(answer))
  const device = await until('the other edge to know the device', () =>
    connect(1, 'c-1', { key: own.keyPem, cert: answer.certificate }).catch(() => undefined),
  )
  await device.publishAsync('devices/c-1/telemetry', '{"values":{"t":1}}', { qos: 1 })
  await until('it to be active', async () => (await stateOf('c-1')) === 'active')
  const cut = new Promise<void>((resolve) => line.once('close', () => resolve()))
  assert.equal((await post('/claims/line-1/revoke', {})).status, 200)
  await cut
  assert.equal(device.connected, true)
})

test('just in time: a factory certificate is admitted at whichever edge it comes to', { skip: skipWithout('openssl') }, async () => {
  const folder = join(cluster.with('dashboard').process.folder, 'maker')
  mkdirSync(folder, { recursive: true })
  const factory = await Factory.open(folder)
  const { body } = await post<{ code: string }>('/factory-authorities/codes', {})
  const proof = await factory.certificate('proof', `/CN=${body.code}`)
  const template = { type: 'generic', subjectPattern: 'SN-{id}', deviceId: 'jit-{id}', labels: {} }
  const registered = { id: 'maker', certificate: factory.caPem, code: body.code, proof: readFileSync(proof.cert, 'utf8'), template }
  assert.equal((await post('/factory-authorities', registered)).status, 201)
  for (const edge of [0, 1]) {
    const { cert, key } = await factory.certificate(`d${edge}`, `/O=Maker/CN=SN-${edge}`)
    const holder = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
    const client = await until(`edge ${edge} to trust the CA`, () => connect(edge, `jit-${edge}`, holder).catch(() => undefined))
    await client.publishAsync(`devices/jit-${edge}/telemetry`, '{"values":{"t":1}}', { qos: 1 })
    await until('it to be active', async () => (await stateOf(`jit-${edge}`)) === 'active')
  }
})

test('a new issuing CA takes over at every edge, and no session ends', async () => {
  const before = await cluster.enrol('old-1', 'generic')
  const held = await connect(0, 'old-1', { key: before.keyPem, cert: before.certPem })
  assert.equal((await post('/certificates/authorities/roll', {})).status, 200)
  const issuerOf = (pem: string): string => new X509Certificate(pem).issuer
  let count = 0
  const later = await until('the new CA to sign', async () => {
    const bundle = await cluster.enrol(`new-${count++}`, 'generic')
    return issuerOf(bundle.certPem) !== issuerOf(before.certPem) && { ...bundle, id: `new-${count - 1}` }
  })
  for (const edge of [0, 1]) {
    const client = await connect(edge, later.id, { key: later.keyPem, cert: later.certPem })
    await client.publishAsync(`devices/${later.id}/telemetry`, '{"values":{"t":1}}', { qos: 1 })
    const old = await connect(1, 'old-1', { key: before.keyPem, cert: before.certPem })
    await old.publishAsync('devices/old-1/telemetry', '{"values":{"t":2}}', { qos: 1 })
    await old.endAsync()
    await client.endAsync()
    if (edge === 0) await until('it to go from the first edge to the second', () => Promise.resolve(!held.connected))
  }
})

test('a device leaves through whichever edge holds it; every act of every process is in one chain that verifies', async (t) => {
  const bundle = await cluster.enrol('leaves-1', 'generic')
  const client = await connect(1, 'leaves-1', { key: bundle.keyPem, cert: bundle.certPem })
  client.on('message', (topic) => {
    if (!topic.endsWith('/result')) client.publish(`${topic}/result`, '{"status":"succeeded"}', { qos: 1 })
  })
  await client.subscribeAsync('devices/leaves-1/commands/#', { qos: 1 })
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  assert.equal((await post('/devices/leaves-1/decommission', { why: 'worn out' })).status, 202)
  await closed
  let job = await cluster.get<JobView>('/devices/leaves-1/decommission')
  t.after(() => t.diagnostic(JSON.stringify(job)))
  await until(
    'its receipt',
    async () => {
      job = await cluster.get<JobView>('/devices/leaves-1/decommission')
      return job.state === 'done'
    },
    60_000,
  )
  assert.equal(job.steps.find(({ name }) => name === 'wipe')?.result.outcome, 'acknowledged')
  const { process } = cluster.with('dashboard')
  const { jws } = await cluster.get<{ jws: string }>('/devices/leaves-1/receipt')
  writeFileSync(join(process.folder, 'receipt.jws'), jws)
  const key = join(cluster.with('registry').process.data, 'statement-key.pub.pem')
  assert.match(await process.cli('verify', 'receipt', join(process.folder, 'receipt.jws'), '--key', key), /^valid: decommission/)
  const { items } = await cluster.get<{ items: { action: string; actor: string }[] }>('/audit?limit=200')
  const actions = new Set(items.map(({ action }) => action))
  const wanted = [
    'claim.create',
    'claim.revoke',
    'certificate.issue',
    'certificate.admit',
    'certificate.authority-roll',
    'certificate.revoke',
  ]
  for (const action of [...wanted, 'device.register', 'device.tombstone'])
    assert.ok(actions.has(action), `${action}: ${[...actions].join()}`)
  assert.match(await process.cli('verify', 'audit', '--key', key), /Nothing was altered, removed, inserted or reordered/)
})
