import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { StoreError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock, VirtualClock, type Clock } from '../../kernel/time.ts'
import { CertificateAuthority } from './authority.ts'
import type { ProvisioningConfig } from '../config.ts'
import { ServerCertificate } from './server-certificate.ts'
import { startStation, temporaryFolder, testConfig } from '../testing/station.ts'

const DAY_MS = 86_400_000
const stops: (() => Promise<void>)[] = []
after(async () => {
  for (const stop of stops.reverse()) await stop()
})

async function start(dataDir: string, changes: Partial<ProvisioningConfig> = {}, clock: Clock = systemClock): Promise<ServerCertificate> {
  const config = testConfig(changes)
  const log = silentLogger
  const authority = new CertificateAuthority({ dataDir, config, clock, log, pkiUrl: () => 'http://localhost:8081' })
  await authority.start()
  const server = new ServerCertificate({ authority, config, clock, log, metrics: new Metrics() })
  await server.start()
  stops.push(() => server.stop())
  return server
}

async function newFolder(): Promise<string> {
  const folder = await temporaryFolder()
  stops.push(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function leafOf(server: ServerCertificate): X509Certificate {
  return new X509Certificate(server.material.certChainPem)
}

test('made for the local names and the configured ones, at most 366 days, followed by its issuer', async () => {
  const folder = await newFolder()
  const server = await start(folder, { serverNames: ['Edge.Example.org', '192.0.2.7', '2001:db8::1'], serverLifetimeDays: 366 })
  const leaf = leafOf(server)
  for (const host of ['localhost', 'edge.example.org']) assert.ok(leaf.checkHost(host), host)
  for (const address of ['127.0.0.1', '::1', '192.0.2.7', '2001:db8::1']) assert.ok(leaf.checkIP(address), address)
  const seconds = (Date.parse(leaf.validTo) - Date.parse(leaf.validFrom)) / 1_000 + 1
  assert.equal(seconds, 366 * 86_400)
  assert.equal(server.material.certChainPem.match(/BEGIN CERTIFICATE/g)?.length, 2)
  assert.equal(server.material.caPem.match(/BEGIN CERTIFICATE/g)?.length, 2)
  assert.equal((await stat(join(folder, 'pki/server.pem'))).mode & 0o777, 0o600)
})

test('a later start reuses it, and makes a new one when the names changed', async () => {
  const folder = await newFolder()
  const names = ['edge.example.org', '2001:db8::1']
  const first = leafOf(await start(folder, { serverNames: names })).serialNumber
  assert.equal(leafOf(await start(folder, { serverNames: names })).serialNumber, first)
  const second = leafOf(await start(folder, { serverNames: ['other.example.org', '2001:db8::1'] }))
  assert.notEqual(second.serialNumber, first)
  assert.ok(second.checkHost('other.example.org'))
  assert.equal(second.checkHost('edge.example.org'), undefined)
})

test('it renews itself before it expires and tells its listeners, a failing one too', async () => {
  const clock = new VirtualClock()
  const server = await start(
    await newFolder(),
    { serverLifetimeDays: 10, serverCheckIntervalMs: DAY_MS / 2, serverRenewAfterFraction: 0.5 },
    clock,
  )
  const first = leafOf(server).serialNumber
  const told: string[] = []
  server.onServerCertificate(() => {
    throw new Error('cannot reload')
  })
  const unsubscribe = server.onServerCertificate((material) => told.push(new X509Certificate(material.certChainPem).serialNumber))
  const renewed = new Promise<void>((resolve) => server.onServerCertificate(() => resolve()))
  await clock.advance(4 * DAY_MS)
  assert.equal(leafOf(server).serialNumber, first)
  await clock.advance(2 * DAY_MS)
  await renewed
  const second = leafOf(server)
  assert.deepEqual(told, [second.serialNumber])
  assert.ok(Date.parse(second.validTo) > clock.nowMs() + 8 * DAY_MS)
  unsubscribe()
})

test('damaged and foreign files are named, and nothing is overwritten', async () => {
  const folder = await newFolder()
  const other = await newFolder()
  await start(folder)
  await start(other)
  const path = join(folder, 'pki/server.pem')
  const good = await readFile(path, 'utf8')
  const foreign = await readFile(join(other, 'pki/server.pem'), 'utf8')
  const key = (pem: string): string => pem.slice(0, pem.indexOf('-----BEGIN CERTIFICATE'))
  const cases: [string, RegExp][] = [
    ['', /does not hold a readable private key and certificate/],
    [key(good), /does not hold a readable/],
    [key(foreign) + good.slice(key(good).length), /private key that does not belong/],
    [foreign, /was not signed by the issuing CA/],
  ]
  for (const [content, says] of cases) {
    await writeFile(path, content)
    await assert.rejects(
      start(folder),
      (error: unknown) => error instanceof StoreError && says.test(error.message) && error.code === 'STORE_CORRUPT',
    )
    assert.equal(await readFile(path, 'utf8'), content)
  }
})

test('a listener reloads it: sessions under way live on, new ones see the new certificate', async () => {
  // In the past, because the TLS client of this test judges validity by the real time.
  const clock = new VirtualClock(systemClock.nowMs() - 20 * DAY_MS)
  const sockets: TLSSocket[] = []
  const station = await startStation({ serverLifetimeDays: 30, serverCheckIntervalMs: DAY_MS, serverRenewAfterFraction: 0.1 }, clock)
  try {
    const open = (): Promise<TLSSocket> =>
      new Promise((resolve, reject) => {
        const socket: TLSSocket = connect({ port: station.https.port, host: '127.0.0.1', ca: station.authority.caPem })
        sockets.push(socket)
        socket.once('secureConnect', () => resolve(socket)).once('error', reject)
      })
    const old = await open()
    const renewed = new Promise<void>((resolve) => station.serverCertificate.onServerCertificate(() => resolve()))
    await clock.advance(4 * DAY_MS)
    await renewed
    const fresh = await open()
    assert.notEqual(fresh.getPeerCertificate().serialNumber, old.getPeerCertificate().serialNumber)
    old.write('GET /.well-known/est/csrattrs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
    let answer = ''
    for await (const chunk of old) answer += String(chunk)
    assert.match(answer, /^HTTP\/1\.1 200/)
  } finally {
    for (const socket of sockets) socket.destroy()
    await station.stop()
  }
})
