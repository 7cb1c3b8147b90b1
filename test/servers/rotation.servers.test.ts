import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { CertificateRecord } from '../../contracts/certificate.ts'
import { newId } from '../../kernel/ids.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import { newDeviceRequest } from '../../provisioning/doors/device-bundle.ts'
import { Fleet } from '../../simulators/fleet.ts'
import { Cluster } from '../testing/cluster.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/*
 * Rotation where nothing is in one process: the registry has the CA, two edges have the devices, the dashboard has the operator. Requests and
 * first uses go through the log, answers come back through it, and an operator's request through the documents.
 */

const name = `r${newId(systemClock.nowMs()).replaceAll('-', '').slice(-10).toLowerCase()}`
const cluster = new Cluster(
  {
    kafka: serverAddress('kafka'),
    questdbHttp: serverAddress('questdbHttp'),
    questdbPg: serverAddress('questdbPg'),
    mongodb: serverAddress('mongodb'),
  },
  name,
  {
    FLEETPULSE_PROVISIONING_DEVICE_LIFETIME_DAYS: '0.0004',
    FLEETPULSE_PROVISIONING_BACKDATE_MS: '0',
    FLEETPULSE_ROTATION_CHECK_INTERVAL_MS: '200',
    FLEETPULSE_ROTATION_RENEW_AFTER_FRACTION: '0.3',
  },
)

before(async () => {
  await cluster.add('registry', 'registry')
  await cluster.add('dashboard', 'dashboard')
  await Promise.all([cluster.add('edge-1', 'edge'), cluster.add('edge-2', 'edge')])
})
after(() => cluster.remove())

async function certificatesOf(device: string): Promise<CertificateRecord[]> {
  return (await cluster.get<{ items: CertificateRecord[] }>(`/certificates?device=${device}`)).items
}

test('devices of two edges renew over MQTT, and the first use on their edge ends the old certificate', { timeout: 300_000 }, async () => {
  const fleets = cluster.members
    .filter(({ targets }) => targets.includes('edge'))
    .map(
      ({ process }, i) =>
        new Fleet({
          ...{ devices: 3, ratePerS: 15, seed: i, idPrefix: `edge${i}-`, host: 'localhost', mqttsPort: process.ready?.mqtts ?? 0 },
          ...{ clock: systemClock, log: silentLogger, inflightMax: 50 },
          enrol: (device) => cluster.enrol(device, 'generic'),
          renewal: () => ({ over: 'mqtt' }),
        }),
    )
  try {
    for (const fleet of fleets) {
      await fleet.connect()
      fleet.run()
    }
    const devices = fleets.flatMap((fleet) => fleet.devices)
    await until('a renewal of every device', async () => devices.every(({ renewals }) => renewals >= 1), 240_000)
    for (const fleet of fleets) fleet.pause()
    await until('every reading to be acknowledged', async () => devices.every(({ unacked }) => unacked === 0))
    for (const { id } of devices) {
      await until(`the first certificate of ${id} to be superseded`, async () => (await certificatesOf(id)).at(-1)?.reason === 'superseded')
      assert.equal((await certificatesOf(id))[0]?.door, 'mqtt-certificate')
    }
  } finally {
    for (const fleet of fleets) fleet.stop()
  }
})

test('an operator at the dashboard gets a certificate that the registry signs', async () => {
  const { process } = cluster.with('dashboard')
  assert.equal((await process.post('/devices', { id: 'by-operator', type: 'generic' })).status, 201)
  const { csrPem } = await newDeviceRequest('by-operator')
  const issued = await process.post<{ certificate: string }>('/devices/by-operator/certificates', { csr: csrPem })
  assert.equal(issued.status, 201, JSON.stringify(issued.body))
  assert.match(issued.body.certificate, /BEGIN CERTIFICATE/)
  const refused = await process.post<{ detail: string }>('/devices/by-operator/certificates', {
    csr: (await newDeviceRequest('other')).csrPem,
  })
  assert.deepEqual([refused.status, /names another identity/.test(refused.body.detail)], [400, true])
})
