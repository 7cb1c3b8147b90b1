import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { after, before, test } from 'node:test'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { Agent, request } from 'undici'
import { EnvironmentError } from '../../kernel/errors.ts'
import { enrolDevice, type DeviceBundle } from '../doors/device-bundle.ts'
import { DeviceHttps } from './device-https.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { startStation, TENANT, type Station } from '../testing/station.ts'

let station: Station
let stranger: Station
const agents: Agent[] = []

before(async () => {
  station = await startStation({ telemetryBodyBytesMax: 1_024, drainTimeoutMs: 200 })
  stranger = await startStation()
})
after(async () => {
  for (const agent of agents) await agent.destroy()
  await station.stop()
  await stranger.stop()
})

async function enrolled(deviceId: string, at = station): Promise<DeviceBundle> {
  const token = await at.token(deviceId)
  return enrolDevice(deviceId, (csr) => at.estClient().enrol(csr, { deviceId, token }))
}

function agentOf(client?: { keyPem: string; certPem: string }, connections = 8): Agent {
  const identity = client === undefined ? {} : { key: client.keyPem, cert: client.certPem }
  const agent = new Agent({ connections, connect: { ca: station.authority.caPem, ...identity } })
  agents.push(agent)
  return agent
}

async function handshakesSoFar(): Promise<number> {
  const metric = await station.metrics.registry.getSingleMetric('fleetpulse_provisioning_https_handshakes_total')?.get()
  return (metric?.values ?? []).reduce((sum, { value }) => sum + value, 0)
}

async function telemetry(
  dispatcher: Agent,
  body = '{"values":{"t":1}}',
): Promise<{ status: number; text: string; headers: Record<string, unknown> }> {
  const response = await request(`${station.origin}/ingest/v1/telemetry`, {
    method: 'POST',
    dispatcher,
    body,
    headers: { 'content-type': 'application/json' },
  })
  return { status: response.statusCode, text: await response.body.text(), headers: response.headers }
}

test('telemetry is handed to ingest as the device of the certificate, and answered when durable', async () => {
  const bundle = await enrolled('h1')
  const answer = await telemetry(agentOf(bundle))
  assert.equal(answer.status, 202)
  const uplink = station.sink.uplinks.at(-1)
  assert.deepEqual(
    [uplink?.tenant, uplink?.device, uplink?.path, Buffer.from(uplink?.payload ?? []).toString()],
    [TENANT, 'h1', 'telemetry', '{"values":{"t":1}}'],
  )
  assert.equal(answer.headers['x-correlation-id'], uplink?.correlationId)
})

test('a leaf without its issuer is accepted', async () => {
  const bundle = await enrolled('h2')
  const leaf = bundle.certPem.slice(0, bundle.certPem.indexOf('-----END CERTIFICATE-----') + 26)
  assert.equal(leaf.match(/BEGIN/g)?.length, 1)
  assert.equal((await telemetry(agentOf({ ...bundle, certPem: leaf }))).status, 202)
})

test('when it cannot be made durable the device is told to send again', async () => {
  const agent = agentOf(await enrolled('h3'))
  station.sink.refusal = new EnvironmentError('LOG_UNAVAILABLE', 'the disk at /secret/path is away')
  const answer = await telemetry(agent)
  station.sink.refusal = undefined
  assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '5'])
  assert.doesNotMatch(answer.text, /secret/)
})

test('too much is 413; no certificate, a stranger and a server certificate are 401; a suspended device is 403', async () => {
  const bundle = await enrolled('h4')
  assert.equal((await telemetry(agentOf(bundle), 'x'.repeat(2_000))).status, 413)
  assert.equal((await telemetry(agentOf())).status, 401)
  const foreign = await telemetry(agentOf(await enrolled('h4', stranger)))
  assert.equal(foreign.status, 401)
  assert.match(foreign.text, /client certificate is not valid/)
  const { keyPem, certChainPem } = station.serverCertificate.material
  assert.equal((await telemetry(agentOf({ keyPem, certPem: certChainPem }))).status, 401)
  station.registrar.setState(TENANT, 'h4', 'suspended')
  assert.match((await telemetry(agentOf(bundle))).text, /suspended/)
})

test('an expired certificate is refused, at the handshake and on a connection that outlives it', async () => {
  const { keyPem, certPem } = await enrolled('h5')
  const publicKey = new X509Certificate(certPem).publicKey.export({ format: 'der', type: 'spki' })
  const lifetimeMs = station.config.backdateMs + 6_000
  const short = await station.issue({ tenant: TENANT, device: 'h5', publicKey, lifetimeMs })
  const agent = agentOf({ keyPem, certPem: short.pem }, 1)
  assert.equal((await telemetry(agent)).status, 202)
  const handshakes = await handshakesSoFar()
  while ((await telemetry(agent)).status === 202) await sleep(systemClock, 50)
  assert.ok(systemClock.nowMs() >= short.notAfter)
  assert.equal(await handshakesSoFar(), handshakes, 'on the same connection')
  assert.match((await telemetry(agentOf({ keyPem, certPem: short.pem }))).text, /CERT_HAS_EXPIRED/)
})

test('revocation ends open connections of that certificate at once and refuses new ones', async () => {
  const [bundle, bystander] = [await enrolled('h6'), await enrolled('h7')]
  const open = async (client: DeviceBundle): Promise<TLSSocket> => {
    const socket = connect({ port: station.https.port, host: '127.0.0.1', ca: client.caPem, key: client.keyPem, cert: client.certPem })
    await once(socket, 'secureConnect')
    socket.write('GET /.well-known/est/csrattrs HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(socket, 'data')
    return socket
  }
  const [revoked, other] = [await open(bundle), await open(bystander)]
  const closed = once(revoked, 'close')
  await station.registrar.revokeAndExpel(station.certificates, TENANT, 'h6', new X509Certificate(bundle.certPem).serialNumber)
  await closed
  const timed = await station.metrics.registry.getSingleMetric('fleetpulse_provisioning_revocation_seconds')?.get()
  assert.equal(timed?.values.find((value) => (value as { metricName?: string }).metricName?.endsWith('_count'))?.value, 1)
  assert.match((await telemetry(agentOf(bundle))).text, /certificate-revoked/)
  assert.equal(other.destroyed, false)
  other.destroy()
})

test('a resumed session is known by its certificate, and refused once that is revoked', async () => {
  const bundle = await enrolled('h8')
  const options = { port: station.https.port, host: '127.0.0.1', ca: bundle.caPem, key: bundle.keyPem, cert: bundle.certPem }
  const ask = async (session?: Buffer): Promise<{ session: Buffer | undefined; answer: string; reused: boolean }> => {
    const socket = connect({ ...options, ...(session === undefined ? {} : { session }) })
    let ticket: Buffer | undefined
    socket.on('session', (latest: Buffer) => (ticket = latest))
    await once(socket, 'secureConnect')
    const reused = socket.isSessionReused()
    socket.write(
      'POST /ingest/v1/telemetry HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}',
    )
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    return { session: ticket, answer, reused }
  }
  const first = await ask()
  assert.match(first.answer, /^HTTP\/1\.1 202/)
  const second = await ask(first.session)
  assert.equal(second.reused, true)
  assert.match(second.answer, /^HTTP\/1\.1 202/)
  await station.registrar.revokeAndExpel(station.certificates, TENANT, 'h8', new X509Certificate(bundle.certPem).serialNumber)
  const third = await ask(first.session)
  assert.equal(third.reused, true)
  assert.match(third.answer, /^HTTP\/1\.1 403/)
})

test('TLS 1.1 and suites outside the profile do not connect', async () => {
  const refused: ConnectionOptions[] = [
    { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256:AES128-SHA' },
    { ecdhCurve: 'secp521r1' },
  ]
  for (const options of refused) {
    const socket = connect({ port: station.https.port, host: '127.0.0.1', ca: station.authority.caPem, ...options })
    await assert.rejects(once(socket, 'secureConnect'), JSON.stringify(options))
    socket.destroy()
  }
})

test('a port in use is said plainly', async () => {
  const { authority, serverCertificate, enrolment, trust, justInTime, enrolmentConfig, registrar, sink, config } = station
  const second = new DeviceHttps({
    authority,
    serverCertificate,
    enrolment,
    trust,
    justInTime,
    enrolmentConfig,
    registryView: registrar,
    uplinkSink: sink,
    config: { ...config, httpsPort: station.https.port },
    clock: systemClock,
    log: silentLogger,
    metrics: new Metrics(),
  })
  await assert.rejects(
    second.start(),
    (error: unknown) => error instanceof EnvironmentError && error.code === 'PORT_IN_USE' && /is in use/.test(error.message),
  )
})

test('stop does not wait for those who never finish their handshake', async () => {
  const own = await startStation({ drainTimeoutMs: 100 })
  const silent = connectTcp({ port: own.https.port, host: '127.0.0.1' })
  await once(silent, 'connect')
  const closed = once(silent, 'close')
  await own.stop()
  await closed
})
