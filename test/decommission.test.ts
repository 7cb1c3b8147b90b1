import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { createLocalJWKSet, compactVerify, type JSONWebKeySet } from 'jose'
import mqtt, { type MqttClient } from 'mqtt'
import type { JobView } from '../device-registry/decommission/job.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * A device leaves the platform that users start, seen from outside: its own MQTT client, curl's view of the API, openssl's view of the receipt.
 */

const platform = new PlatformProcess({ FLEETPULSE_DECOMMISSION_WIPE_TIMEOUT_MS: '20000' })
const run = promisify(execFile)

before(async () => {
  await platform.start()
})
after(() => platform.remove())

interface Statement {
  device: string
  steps: { name: string; result: Record<string, unknown> }[]
}

async function connect(device: string, files: { key: Buffer; cert: Buffer; ca: Buffer }): Promise<MqttClient> {
  const { key, cert, ca } = files
  const url = `mqtts://localhost:${platform.ready?.mqtts}`
  // No retries: without it a refused connection would neither fail nor be tried again.
  return mqtt.connectAsync(url, { clientId: device, key, cert, ca, protocolVersion: 4, clean: false, reconnectPeriod: 0 }, false)
}

async function finished(device: string): Promise<JobView> {
  return until(`${device} is out`, async () => {
    const job = await platform.get<JobView>(`/devices/${device}/decommission`)
    return job.state === 'done' && job
  })
}

async function receiptOf(device: string): Promise<{ jws: string; statement: Statement }> {
  return platform.get(`/devices/${device}/receipt`)
}

const resultOf = ({ steps }: Statement, name: string): Record<string, unknown> => steps.find((step) => step.name === name)?.result ?? {}

test('a connected device is wiped, cut off and forgotten, and its receipt holds outside', async () => {
  const device = 'leaves-1'
  const files = await platform.provision(device)
  const client = await connect(device, files)
  await client.subscribeAsync(`devices/${device}/commands/#`, { qos: 1 })
  for (let seq = 0; seq < 50; seq++) {
    await client.publishAsync(`devices/${device}/telemetry`, JSON.stringify({ boot: 'b', seq, values: { t: seq } }), { qos: 1 })
  }
  await client.publishAsync(`devices/${device}/status`, '{"mode":"eco"}', { qos: 1, retain: true })
  await until('its readings are stored', async () => {
    const { items } = await platform.get<{ items: unknown[] }>(`/readings?device=${device}&limit=100`)
    return items.length === 50
  })
  const commands: { topic: string; body: { command: string; why?: string } }[] = []
  client.on('message', (topic, payload) => {
    // Its filter holds its own results, too.
    if (topic.endsWith('/result')) return
    commands.push({ topic, body: JSON.parse(payload.toString()) as { command: string } })
    client.publish(`${topic}/result`, '{"status":"succeeded"}', { qos: 1 })
  })
  const closed = new Promise<void>((resolve) => client.on('close', () => resolve()))

  const asked = await platform.post<JobView>(`/devices/${device}/decommission`, { readings: 'erase', why: 'end of life' })
  assert.equal(asked.status, 202, JSON.stringify(asked.body))
  assert.equal((await platform.post(`/devices/${device}/decommission`, {})).status, 409)
  await finished(device)
  await closed
  assert.deepEqual(
    commands.map(({ body }) => [body.command, body.why]),
    [['wipe', 'end of life']],
  )

  const { jws, statement } = await receiptOf(device)
  const keys = (await (await fetch(`${platform.api}/.well-known/jwks.json`)).json()) as JSONWebKeySet
  const { payload } = await compactVerify(jws, createLocalJWKSet(keys))
  assert.deepEqual(JSON.parse(Buffer.from(payload).toString()), statement)
  assert.equal(resultOf(statement, 'wipe').outcome, 'acknowledged')
  assert.equal(resultOf(statement, 'revoke').revoked, 1)
  const { readings, left } = resultOf(statement, 'readings')
  assert.deepEqual([readings, left], [50, 0])
  const { sessions, retained } = resultOf(statement, 'forget')
  assert.deepEqual([sessions, retained], [1, 1])
  await verifyWithOpenssl(jws)

  await assert.rejects(connect(device, files), 'its certificate opens nothing')
  assert.equal((await platform.post('/enrolment-tokens', { deviceId: device })).status, 409)
  assert.equal((await platform.post('/devices', { id: device, type: 'generic' })).status, 409)
  assert.equal((await platform.post(`/devices/${device}/state`, { state: 'active' })).status, 409)
  await assert.rejects(platform.provision(device), 'no door lets it in again')
  assert.deepEqual((await platform.get<{ items: unknown[] }>(`/readings?device=${device}`)).items, [])
  const audit = await platform.get<{ items: { action: string }[] }>(`/audit?device=${device}&limit=50`)
  for (const action of ['device.decommission', 'device.tombstone', 'certificate.revoke']) {
    assert.ok(
      audit.items.some((entry) => entry.action === action),
      `${action} is in the trail: ${JSON.stringify(audit.items.map((entry) => entry.action))}`,
    )
  }
})

/** As docs/decommission.md shows it: the key, the signing input and the signature, and nothing of ours. */
async function verifyWithOpenssl(jws: string): Promise<void> {
  const [header, payload, signature] = jws.split('.') as [string, string, string]
  const file = (name: string): string => join(platform.folder, name)
  writeFileSync(file('input'), `${header}.${payload}`)
  writeFileSync(file('signature'), Buffer.from(signature, 'base64url'))
  const key = join(platform.data, 'statement-key.pub.pem')
  const verify = (input: string) =>
    run('openssl', ['pkeyutl', '-verify', '-pubin', '-inkey', key, '-rawin', '-in', input, '-sigfile', file('signature')])
  const { stdout } = await verify(file('input'))
  assert.match(stdout, /Signature Verified Successfully/)
  writeFileSync(file('altered'), `${header}.${payload.slice(0, -1)}${payload.endsWith('A') ? 'B' : 'A'}`)
  await assert.rejects(verify(file('altered')), 'an altered receipt does not verify')
}

test('the commands say how a device stands, lead it out, and verify its receipt', async () => {
  const device = 'leaves-4'
  await platform.post('/devices', { id: device, type: 'generic' })
  await platform.cli('device', 'quarantine', device, '--why', 'odd values')
  assert.match(await platform.cli('device', 'show', device), /quarantined[\s\S]*registered → quarantined {2}user:admin from .*: odd values/)
  assert.match(await platform.cli('device', 'resume', device), /registered/)
  const file = join(platform.folder, 'receipt.jws')
  const said = await platform.cli('device', 'decommission', device, '--readings', 'erase', '--receipt', file)
  assert.match(said, /wipe: outcome no-certificate[\s\S]*is out/)
  assert.match(await platform.cli('verify', 'receipt', file), /^valid: decommission of default\/leaves-4/)
  writeFileSync(file, (await platform.cli('device', 'receipt', device)).replace('.', 'x.'))
  await assert.rejects(platform.cli('verify', 'receipt', file), { code: 1, stdout: /^NOT VALID/ })
})

test('an offline device gets its wipe when it comes, through kill -9 in between', async () => {
  const device = 'leaves-2'
  const files = await platform.provision(device)
  await platform.post(`/devices/${device}/decommission`, { wipeTimeoutMs: 60_000 })
  await until('it waits for the device', async () => (await platform.get<JobView>(`/devices/${device}/decommission`)).step === 'wipe')
  await platform.kill()
  await platform.start()
  const client = await connect(device, files)
  client.on('message', (topic) => {
    if (!topic.endsWith('/result')) client.publish(`${topic}/result`, '{}', { qos: 1 })
  })
  await client.subscribeAsync(`devices/${device}/commands/#`, { qos: 1 })
  // On its way out it may say nothing else.
  await client.publishAsync(`devices/${device}/telemetry`, '{"values":{"t":1}}', { qos: 1 })
  await finished(device)
  await client.endAsync(true)
  const { statement } = await receiptOf(device)
  assert.equal(resultOf(statement, 'wipe').outcome, 'acknowledged')
  assert.equal(resultOf(statement, 'readings').readings, 0)
})

test('a device that never answers is out after the time it was given, and a kill does not give it more', async () => {
  const device = 'leaves-3'
  await platform.provision(device)
  const startedMs = performance.now()
  await platform.post(`/devices/${device}/decommission`, { wipeTimeoutMs: 3_000 })
  await platform.kill()
  await platform.start()
  await finished(device)
  const { statement } = await receiptOf(device)
  assert.equal(resultOf(statement, 'wipe').outcome, 'timeout')
  assert.ok(performance.now() - startedMs > 3_000)
})

test('a transferred device enrols in its new tenant, and its history is there', async () => {
  const device = 'moves-1'
  const files = await platform.provision(device)
  const client = await connect(device, files)
  for (let seq = 0; seq < 10; seq++)
    await client.publishAsync(`devices/${device}/telemetry`, JSON.stringify({ seq, values: { t: seq } }), { qos: 1 })
  const asked = await platform.post<JobView>(`/devices/${device}/transfer`, { to: 'acme', history: 'move', why: 'sold' })
  assert.equal(asked.status, 202, JSON.stringify(asked.body))
  await finished(device)
  await client.endAsync(true)
  const { statement } = await receiptOf(device)
  assert.equal(resultOf(statement, 'readings').moved, 10)
  const token = await platform.post<{ token: string; tenant: string }>(`/devices/${device}/transfer/token`, {})
  assert.deepEqual([token.status, token.body.tenant], [201, 'acme'])
  const { text } = await enrolInto('acme', device, token.body.token)
  assert.match(text, /urn:fleetpulse:acme:moves-1/)
})

/** A token of another tenant, openssl for the key, curl for EST; answers what openssl says of the certificate. */
async function enrolInto(name: string, device: string, token: string): Promise<{ folder: string; text: string }> {
  const folder = join(platform.folder, name)
  await run('mkdir', ['-p', folder])
  await run('openssl', [
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    `/CN=${device}`,
    '-keyout',
    join(folder, 'key.pem'),
    '-outform',
    'DER',
    '-out',
    join(folder, 'csr.der'),
  ])
  const csr = (await run('openssl', ['base64', '-in', join(folder, 'csr.der')])).stdout
  const answer = await run('curl', [
    ...['-sS', '--cacert', join(platform.data, 'pki', 'ca.pem'), '-u', `${device}:${token}`, '--data-binary', csr],
    ...['-H', 'content-type: application/pkcs10', '-H', 'content-transfer-encoding: base64'],
    `https://localhost:${platform.ready?.https}/.well-known/est/simpleenroll`,
  ])
  writeFileSync(join(folder, 'p7.b64'), answer.stdout)
  await run('openssl', ['base64', '-d', '-in', join(folder, 'p7.b64'), '-out', join(folder, 'p7.der')])
  const pkcs7 = ['pkcs7', '-inform', 'DER', '-in', join(folder, 'p7.der'), '-print_certs']
  writeFileSync(join(folder, 'cert.pem'), (await run('openssl', pkcs7)).stdout)
  return { folder, text: (await run('openssl', [...pkcs7, '-text', '-noout'])).stdout }
}

test('two tenants have a device of the same id: neither hears, is counted with, or goes with the other', async () => {
  const device = 'twin-1'
  await platform.post('/devices', { id: 'moves-2', type: 'generic', labels: {} })
  assert.equal((await platform.post('/devices/moves-2/transfer', { to: 'acme', as: device, history: 'keep' })).status, 202)
  await finished('moves-2')
  const { body } = await platform.post<{ token: string; deviceId: string }>('/devices/moves-2/transfer/token', {})
  assert.equal(body.deviceId, device)
  const { folder } = await enrolInto('acme-twin', device, body.token)
  const ours = await platform.provision(device)
  const read = (name: string): Buffer => readFileSync(join(folder, name))
  const theirs = { key: read('key.pem'), cert: read('cert.pem'), ca: ours.ca }
  // The token of one tenant's device is nothing in the other.
  const { body: mine } = await platform.post<{ token: string }>('/enrolment-tokens', { deviceId: device })
  const again = await enrolInto('default-twin', device, mine.token)
  assert.match(again.text, /urn:fleetpulse:default:twin-1/)

  const [one, other] = [await connect(device, ours), await connect(device, theirs)]
  assert.ok(one.connected && other.connected, 'the same client id, and neither takes over from the other')
  const heard: string[] = []
  await other.subscribeAsync(`devices/${device}/#`, { qos: 1 })
  other.on('message', (topic, payload) => heard.push(`${topic} ${payload.toString()}`))
  await one.publishAsync(`devices/${device}/status`, '"ours"', { qos: 1, retain: true })
  await one.publishAsync(`devices/${device}/telemetry`, '{"values":{"t":1}}', { qos: 1 })
  await other.publishAsync(`devices/${device}/telemetry`, '{"values":{"theirs":2}}', { qos: 1 })
  const seen = await until('our reading', async () => {
    const { items } = await platform.get<{ items: { values: object }[] }>(`/readings?device=${device}`)
    return items.length > 0 && items
  })
  assert.deepEqual(seen[0]?.values, { t: 1 })
  assert.equal(seen.length, 1)

  const gone = new Promise<void>((resolve) => one.once('close', () => resolve()))
  const { items } = await platform.get<{ items: { serial: string; state: string }[] }>(`/certificates?device=${device}`)
  const theirSerial = new X509Certificate(theirs.cert).serialNumber
  assert.ok(items.every(({ serial }) => serial !== theirSerial))
  assert.equal((await platform.post(`/certificates/${theirSerial}/revoke`, { reason: 'keyCompromise' })).status, 404)
  for (const { serial } of items)
    assert.equal((await platform.post(`/certificates/${serial}/revoke`, { reason: 'keyCompromise' })).status, 200)
  await gone
  assert.equal(other.connected, true)
  await other.publishAsync(`devices/${device}/telemetry`, '{"values":{"theirs":3}}', { qos: 1 })
  await assert.rejects(connect(device, ours))
  assert.deepEqual(
    heard.filter((line) => line.includes('ours')),
    [],
  )
  await other.endAsync(true)
})
