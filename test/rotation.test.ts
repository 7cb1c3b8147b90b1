import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Agent, request as httpRequest } from 'undici'
import type { Alert } from '../contracts/alert.ts'
import type { CertificateRecord } from '../contracts/certificate.ts'
import { silentLogger } from '../kernel/log.ts'
import { systemClock } from '../kernel/time.ts'
import { enrolDevice, type DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { EstClient } from '../provisioning/doors/est-client.ts'
import { openssl, run, skipWithout } from '../provisioning/testing/openssl.ts'
import { Fleet } from '../simulators/fleet.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * Rotation with the process users start and certificates that live for seconds: a fleet goes through two rotations without losing a
 * reading, and a device that does not renew is noticed.
 */

const LIFETIME_DAYS = 0.00016
const DEVICES = 6
const platform = new PlatformProcess({
  FLEETPULSE_PROVISIONING_DEVICE_LIFETIME_DAYS: String(LIFETIME_DAYS),
  FLEETPULSE_PROVISIONING_BACKDATE_MS: '0',
  FLEETPULSE_ROTATION_CHECK_INTERVAL_MS: '100',
  FLEETPULSE_ROTATION_FORECAST_INTERVAL_MS: '100',
  FLEETPULSE_ROTATION_RENEW_AFTER_FRACTION: '0.5',
  FLEETPULSE_ALERTS_RESOLVE_QUIET_MS: '0',
})

before(() => platform.start().then(() => undefined), { timeout: 300_000 })
after(() => platform.remove())

async function enrol(device: string): Promise<DeviceBundle> {
  const { body } = await platform.post<{ token: string }>('/enrolment-tokens', { deviceId: device })
  const client = estClient()
  try {
    return await enrolDevice(device, (csr) => client.enrol(csr, { deviceId: device, token: body.token }))
  } finally {
    await client.close()
  }
}

function estOrigin(): string {
  return `https://localhost:${platform.ready?.https}`
}

function estClient(client?: DeviceBundle): EstClient {
  const caPem = readFileSync(join(platform.data, 'pki', 'ca.pem'), 'utf8')
  return new EstClient({ origin: estOrigin(), caPem, ...(client === undefined ? {} : { client }) })
}

async function certificatesOf(device: string): Promise<CertificateRecord[]> {
  return (await platform.get<{ items: CertificateRecord[] }>(`/certificates?device=${device}&limit=200`)).items
}

async function metric(name: string): Promise<string> {
  const text = await (await fetch(`${platform.api}/metrics`)).text()
  return text.split('\n').find((line) => line.startsWith(name)) ?? ''
}

test('a fleet goes through two rotations, over MQTT and over EST, and no reading is lost', { timeout: 300_000 }, async () => {
  const kept = new Map<string, number>()
  const fleet = new Fleet({
    ...{ devices: DEVICES, ratePerS: 60, seed: 5, idPrefix: 'turn-', host: 'localhost', mqttsPort: platform.ready?.mqtts ?? 0 },
    ...{ clock: systemClock, log: silentLogger, inflightMax: 50, enrol },
    renewal: (device) => ({
      over: Number(device.at(-1)) % 2 === 0 ? 'mqtt' : { est: estOrigin() },
      keep: (id) => Promise.resolve(void kept.set(id, (kept.get(id) ?? 0) + 1)),
    }),
  })
  for (const { type } of fleet.plan().map(({ profile }) => profile))
    await platform.post('/device-types', { id: type, open: true, metrics: {} })
  try {
    await fleet.connect()
    fleet.run()
    await until('two rotations of every device', async () => fleet.devices.every((device) => device.renewals >= 2), 60_000)
    fleet.pause()
    await until('every reading to be acknowledged', async () => fleet.totals().unacked === 0)
    const { sent, acked, renewals } = fleet.totals()
    assert.deepEqual([acked, renewals >= 2 * DEVICES, sent > 300], [sent, true, true])
    assert.ok([...kept.values()].every((count) => count >= 2) && kept.size === DEVICES)

    const ledger = await until('every reading to be stored', async () => {
      const counts = await platform.get<Record<string, number>>('/ledger?summary=true')
      return counts.stored === sent ? counts : undefined
    })
    assert.deepEqual([ledger.missing, ledger.rejected], [0, 0])
    for (const { id } of fleet.devices) {
      const all = await until(`the old certificates of ${id} to be revoked`, async () => {
        const found = await certificatesOf(id)
        return found.slice(1).every(({ state }) => state === 'revoked') ? found : undefined
      })
      assert.equal(all[0]?.state, 'valid')
      assert.ok(all.length >= 3 && all.slice(1).every(({ reason }) => reason === 'superseded'))
    }
    const { items } = await platform.get<{ items: Alert[] }>('/alerts?limit=200')
    assert.deepEqual(
      items.filter(({ cause, device }) => cause === 'certificate' && device.startsWith('turn-')),
      [],
      'who renews raises no alert',
    )
  } finally {
    fleet.stop()
  }
})

test(
  'a device that does not renew is forecast, alerted once, and the alert ends when it has a certificate again',
  { timeout: 300_000 },
  async () => {
    await enrol('lazy')
    const forecast = await platform.get<{ counts: Record<string, number>; soonest: { device: string }[] }>('/certificates/forecast')
    assert.ok((forecast.counts['1d'] ?? 0) > 0 && forecast.soonest.some(({ device }) => device === 'lazy'))
    const alertsOf = async (): Promise<Alert[]> => (await platform.get<{ items: Alert[] }>('/alerts?device=lazy')).items
    const open = await until('the alert', async () => (await alertsOf())[0])
    assert.deepEqual([open.cause, open.title, open.severity], ['certificate', 'lazy did not renew its certificate', 'warning'])
    await until('the certificate to end', async () => (await alertsOf())[0]?.severity === 'critical')
    const ended = (): Promise<string> => metric('fleetpulse_provisioning_expiring_certificates{within="ended"}')
    await until('the metric', async () => / [1-9]/.test(await ended()))
    const evidence = await platform.get<{ explanation: { text: string; parameters: Record<string, string> } }>(
      `/anomalies/${open.firstAnomalyId}/explanation`,
    )
    assert.equal(evidence.explanation.parameters.serial, (await certificatesOf('lazy'))[0]?.serial)
    assert.equal((await alertsOf()).length, 1, 'not one for each look')
    await enrol('lazy')
    const [resolved, ...more] = await until('the alert to be over', async () => {
      const all = await alertsOf()
      return all[0]?.state === 'resolved' ? all : undefined
    })
    assert.deepEqual([resolved?.anomalyCount, more.length], [2, 0])
  },
)

const byHand = { skip: skipWithout('openssl', 'mosquitto_pub', 'mosquitto_sub'), timeout: 300_000 }
test('renewal by hand with openssl and mosquitto; the first use over HTTPS ends the old certificate', byHand, async () => {
  const bundle = await enrol('by-hand')
  const path = (name: string): string => join(platform.folder, name)
  const keep = (name: string, text: string): void => writeFileSync(path(name), text)
  keep('key.pem', bundle.keyPem)
  keep('cert.pem', bundle.certPem)
  keep('ca.pem', bundle.caPem)
  const request = '-new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=by-hand'.split(' ')
  await openssl(['req', ...request, '-keyout', path('new-key.pem'), '-out', path('csr.pem')])
  const tls = ['--cafile', path('ca.pem'), '--cert', path('cert.pem'), '--key', path('key.pem'), '-h', 'localhost']
  const device = [...tls, '-p', String(platform.ready?.mqtts), '-i', 'by-hand', '-c', '-q', '1']
  // The session is persistent: the answer waits in it, because the device listens in between and not while it asks.
  const listen = ['-t', 'devices/by-hand/certificate', '-W', '10']
  const mosquitto = async (program: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(program, [...device, ...args])
    assert.equal(code, 0, stderr)
    return stdout
  }
  await mosquitto('mosquitto_sub', ...listen, '-E')
  await mosquitto('mosquitto_pub', '-t', 'devices/by-hand/certificate/renew', '-f', path('csr.pem'))
  const notice = JSON.parse(await mosquitto('mosquitto_sub', ...listen, '-C', '1')) as { status: string; certificate: string; ca: string }
  assert.equal(notice.status, 'issued', JSON.stringify(notice))
  keep('new-cert.pem', notice.certificate)
  await openssl(['verify', '-CAfile', path('ca.pem'), '-untrusted', path('new-cert.pem'), path('new-cert.pem')])
  const newKey = readFileSync(path('new-key.pem'), 'utf8')
  assert.ok(new X509Certificate(notice.certificate).checkPrivateKey(createPrivateKey(newKey)))

  const old = new X509Certificate(bundle.certPem).serialNumber
  const stateOfOld = async (): Promise<string | undefined> => (await certificatesOf('by-hand')).find(({ serial }) => serial === old)?.state
  assert.equal(await stateOfOld(), 'valid')
  const status = await postReading({ ca: notice.ca, key: newKey, cert: notice.certificate })
  assert.equal(status, 202)
  await until('the old certificate to be revoked', async () => (await stateOfOld()) === 'revoked')
  const refused = await run('mosquitto_pub', [...device, '-t', 'devices/by-hand/telemetry', '-m', '{"values":{"t":2}}'])
  assert.notEqual(refused.code, 0, 'the old certificate lets nobody in')
})

async function postReading(connect: { ca: string; key: string; cert: string }): Promise<number> {
  const agent = new Agent({ connect })
  const headers = { 'content-type': 'application/json' }
  const answer = await httpRequest(`${estOrigin()}/ingest/v1/telemetry`, {
    method: 'POST',
    dispatcher: agent,
    headers,
    body: '{"values":{"t":1}}',
  })
  await answer.body.dump()
  await agent.close()
  return answer.statusCode
}
