import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import { RemoteAuthority } from '../ca/remote-authority.ts'
import { ServerCertificate } from '../ca/server-certificate.ts'
import { SigningDesk } from '../ca/signing-desk.ts'
import { until } from '../../test/testing/platform-process.ts'
import { run, skipWithout } from '../testing/openssl.ts'
import { startStation, type Station } from '../testing/station.ts'
import { openServerCertificates } from './staple-documents.ts'
import { StapleDesk } from './staple-desk.ts'
import { Staples } from './staples.ts'

const withoutOpenssl = { skip: skipWithout('openssl') }
const HOUR_MS = 3_600_000
const POLL_MS = 10_000
let station: Station
let clock: VirtualClock

before(async () => {
  clock = new VirtualClock(systemClock.nowMs())
  station = await startStation({ signingPollMs: POLL_MS }, clock)
  await writeFile(join(station.folder, 'ca.pem'), station.authority.caPem)
  await writeFile(join(station.folder, 'ca-issuing.pem'), station.authority.issuingPem)
})
after(() => station.stop())

/** Lets polls happen until something holds. */
function settled(what: string, condition: () => boolean | Promise<boolean>): Promise<boolean> {
  return until(what, async () => {
    await clock.advance(POLL_MS)
    return condition()
  })
}

async function status(port: number): Promise<string> {
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', '-status', '-CAfile', join(station.folder, 'ca.pem')]
  return (await run('openssl', args, 'Q')).stdout
}

test('device HTTPS staples the answer about its certificate, and the responder knows it', withoutOpenssl, async () => {
  await settled('the staple', () => station.serverCertificate.staple !== undefined)
  const text = await status(station.https.port)
  assert.match(text, /OCSP Response Status: successful/)
  assert.match(text, /Cert Status: good/)
  assert.match(text, /Verify return code: 0 \(ok\)/)
  const serial = station.serverCertificate.leaf.serialNumber
  const asked = await run('openssl', [
    ...['ocsp', '-issuer', join(station.folder, 'ca-issuing.pem'), '-serial', `0x${serial}`, '-CAfile', join(station.folder, 'ca.pem')],
    ...['-url', `${station.pkiHttp.publicUrl}/ocsp`],
  ])
  assert.match(asked.stdout, /: good/)
})

test('an edge in another process gets its staple through the documents, and only for what our CA signed', async () => {
  const { documents } = station.stores
  const config = station.config
  const common = { documents, config, clock, log: silentLogger }
  const desk = new SigningDesk({ ...common, authority: station.authority })
  await desk.start()
  const remote = new RemoteAuthority({ ...common, edgeId: 'edge-1', dataDir: join(station.folder, 'edge-1') })
  await remote.start()
  const certificate = new ServerCertificate({ ...common, authority: remote, metrics: new Metrics() })
  let isStarted = false
  const starting = certificate.start().then(() => (isStarted = true))
  await settled('the certificate', () => isStarted)
  await starting
  const told: boolean[] = []
  certificate.onServerCertificate(({ staple }) => told.push(staple !== undefined))
  const staples = new Staples({ ...common, serverCertificate: certificate })
  await staples.start()
  const certificates = await openServerCertificates(documents)
  const foreign = { serial: 'F0', issuer: station.authority.issuers[0].keyId, notAfter: clock.nowMs() + HOUR_MS, isWanted: true, staple: null }
  await certificates.insert('F0', { ...foreign, pem: await foreignPem() })
  await settled('the staple', () => told.length === 1)
  await settled('the forged one to be gone', async () => (await certificates.get('F0')) === null)
  assert.deepEqual(told, [true])
  assert.notEqual(certificate.leaf.serialNumber, station.serverCertificate.leaf.serialNumber)
  for (const service of [staples, certificate, remote, desk]) await service.stop()
})

async function foreignPem(): Promise<string> {
  const stranger = await startStation()
  try {
    return stranger.serverCertificate.leaf.toString()
  } finally {
    await stranger.stop()
  }
}

test('a staple is replaced at half of its life, and taken away when it ends with nobody to make a new one', async () => {
  const first = station.serverCertificate.staple?.derBase64
  assert.ok(first)
  await clock.advance(HOUR_MS * 0.51)
  await settled('the next one', () => station.serverCertificate.staple?.derBase64 !== first)
  await station.stapleDesk.stop()
  await clock.advance(HOUR_MS)
  await settled('no staple', () => station.serverCertificate.staple === undefined)
  const again = new StapleDesk({
    ...{ documents: station.stores.documents, authority: station.authority, config: station.config, clock, log: silentLogger },
    ocspResponder: station.ocspResponder,
  })
  await again.start()
  await settled('a staple again', () => station.serverCertificate.staple !== undefined)
  await again.stop()
})
