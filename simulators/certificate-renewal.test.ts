import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { after, before, test } from 'node:test'
import { normaliseSerial } from '../contracts/certificate.ts'
import { silentLogger } from '../kernel/log.ts'
import { seededRandom } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import { sleep, systemClock, VirtualClock } from '../kernel/time.ts'
import { CertificateAuthority } from '../provisioning/ca/authority.ts'
import { ProvisioningConfigSchema } from '../provisioning/config.ts'
import { newDeviceRequest, type DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { checkCsr } from '../provisioning/doors/csr.ts'
import { csrDerOf } from '../provisioning/doors/csr-text.ts'
import { CertificateRenewal } from './certificate-renewal.ts'

/* A simulated device's care for its certificate, on a clock that is moved: its certificate lives 100 h. */

const HOUR_MS = 3_600_000
const clock = new VirtualClock()
const hold = new MessageChannel()
let folder: string
let authority: CertificateAuthority
before(async () => {
  hold.port1.on('message', () => undefined)
  folder = await mkdtemp(join(tmpdir(), 'fleetpulse-renewal-'))
  const checked = compileSchema(ProvisioningConfigSchema)({ deviceLifetimeDays: 100 / 24, backdateMs: 0 })
  assert.equal(checked.status, 'valid')
  const config = (checked as { value: ConstructorParameters<typeof CertificateAuthority>[0]['config'] }).value
  authority = new CertificateAuthority({ dataDir: folder, config, clock, log: silentLogger, pkiUrl: () => 'http://localhost' })
  await authority.start()
})
after(async () => {
  await authority.stop()
  await rm(folder, { recursive: true, force: true })
  hold.port1.close()
})

async function sign(csrPem: string): Promise<Omit<DeviceBundle, 'keyPem'>> {
  const check = checkCsr(csrDerOf(Buffer.from(csrPem)) as Buffer, { rsaBitsMin: 2048, rsaBitsMax: 4096, deviceKeyTypes: ['ecdsa-p256'] })
  assert.equal(check.status, 'proven')
  const { publicKey } = (check as { csr: { publicKey: Buffer } }).csr
  const { pem } = await authority.signDevice({ tenant: 'default', device: 'd1', publicKey })
  return { certPem: pem, caPem: authority.caPem }
}

async function careful(): Promise<{ renewal: CertificateRenewal; asked: string[]; adopted: DeviceBundle[]; first: DeviceBundle }> {
  const { keyPem, csrPem } = await newDeviceRequest('d1')
  const first = { keyPem, ...(await sign(csrPem)) }
  const asked: string[] = []
  const adopted: DeviceBundle[] = []
  const renewal = new CertificateRenewal({
    ...{ device: 'd1', clock, log: silentLogger, random: seededRandom('r') },
    ask: (csr) => Promise.resolve(void asked.push(csr)).then(() => undefined),
    adopt: (bundle) => Promise.resolve(void adopted.push(bundle)),
  })
  renewal.follow(first)
  return { renewal, asked, adopted, first }
}

async function until(isSo: () => boolean): Promise<void> {
  for (const deadlineMs = systemClock.monotonicMs() + 60_000; !isSo(); await sleep(systemClock, 2)) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, 'waited in vain')
  }
}

function answer(of: Omit<DeviceBundle, 'keyPem'>): Buffer {
  const notice = { status: 'issued', serial: 'AB', notAfter: 1, certificate: of.certPem, ca: of.caPem }
  return Buffer.from(JSON.stringify(notice))
}

test('due by itself: it asks with a new key, again with the same one until it is answered, and then waits for the next time', async () => {
  const { renewal, asked, adopted, first } = await careful()
  await clock.advance(59 * HOUR_MS)
  assert.equal(asked.length, 0)
  await clock.advance(8 * HOUR_MS)
  await until(() => asked.length > 0)
  const tries = asked.length
  await clock.advance(60_000)
  await sleep(systemClock, 1)
  renewal.resume()
  assert.equal(asked.length, tries + 2)
  assert.equal(new Set(asked).size, 1)
  const given = await sign(asked[0] as string)
  renewal.take(answer(await sign((await newDeviceRequest('d1')).csrPem)))
  assert.equal(adopted.length, 0, 'a certificate for another key is not taken')
  renewal.take(answer(given))
  renewal.take(answer(given))
  assert.equal(adopted.length, 1)
  assert.notEqual(adopted[0]?.keyPem, first.keyPem)
  assert.ok(new X509Certificate(adopted[0]?.certPem ?? '').serialNumber)
  await clock.advance(50 * HOUR_MS)
  assert.equal(asked.length, tries + 2, 'answered: it asks no more')
  await clock.advance(20 * HOUR_MS)
  await until(() => asked.length > tries + 2)
  assert.notEqual(asked.at(-1), asked[0])
  renewal.stop()
})

test('told to, it renews at once; refused or told nonsense, it goes on; stopped, it is quiet', async () => {
  const { renewal, asked, adopted, first } = await careful()
  renewal.take(Buffer.from('{'))
  renewal.take(Buffer.from('{"status":"what"}'))
  assert.equal(asked.length, 0)
  const due = (serial: string): Buffer => Buffer.from(JSON.stringify({ status: 'due', serial, notAfter: 1, lateAt: 1 }))
  renewal.take(due('AB'))
  await clock.advance(1)
  assert.equal(asked.length, 0, 'another certificate was meant')
  renewal.take(due(normaliseSerial(new X509Certificate(first.certPem).serialNumber) as string))
  await until(() => asked.length === 1)
  renewal.take(Buffer.from(JSON.stringify({ status: 'refused', reason: 'device-refused', detail: 'the device is suspended' })))
  await clock.advance(60_000)
  assert.ok(asked.length > 1, 'it tries again')
  renewal.stop()
  const before = asked.length
  await clock.advance(200 * HOUR_MS)
  assert.deepEqual([asked.length, adopted.length], [before, 0])
})
