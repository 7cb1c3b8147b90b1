import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { StoreError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { VirtualClock, systemClock, type Clock } from '../../kernel/time.ts'
import { CertificateAuthority } from './authority.ts'
import { newPrivateKeyPem } from './ca-key.ts'
import { publicKeyOf } from './make-pki.ts'
import { openssl, run, skipWithout } from '../testing/openssl.ts'
import { temporaryFolder, testConfig } from '../testing/station.ts'

const withoutOpenssl = { skip: skipWithout('openssl') }
const folders: string[] = []
let dataDir: string

async function newFolder(): Promise<string> {
  const folder = await temporaryFolder()
  folders.push(folder)
  return folder
}

function authorityOf(folder: string, clock: Clock = systemClock): CertificateAuthority {
  return new CertificateAuthority({
    dataDir: folder,
    config: testConfig(),
    clock,
    log: silentLogger,
    pkiUrl: () => 'http://pki.example:8081',
  })
}

async function newPublicKey(): Promise<Buffer> {
  return publicKeyOf(await newPrivateKeyPem())
}

before(async () => {
  dataDir = await newFolder()
  await authorityOf(dataDir).start()
})
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

test('openssl verifies the chain for its purpose, and only for that', withoutOpenssl, async () => {
  const authority = authorityOf(dataDir)
  await authority.start()
  const device = await authority.signDevice({ tenant: 'acme', device: 'pump-1', publicKey: await newPublicKey() })
  const server = await authority.signServer(['localhost', '10.1.2.3'], await newPublicKey())
  const paths = { device: join(dataDir, 'device.crt'), server: join(dataDir, 'server.crt') }
  await writeFile(paths.device, device.pem)
  await writeFile(paths.server, server.pem)
  const chain = ['verify', '-x509_strict', '-CAfile', join(dataDir, 'pki/root.crt'), '-untrusted', join(dataDir, 'pki/issuing.crt')]
  await openssl([...chain, '-purpose', 'sslclient', paths.device])
  await openssl([...chain, '-purpose', 'sslserver', '-verify_hostname', 'localhost', paths.server])
  await openssl([...chain, '-purpose', 'sslserver', '-verify_ip', '10.1.2.3', paths.server])
  assert.notEqual((await run('openssl', [...chain, '-purpose', 'sslserver', paths.device])).code, 0)
  assert.notEqual((await run('openssl', [...chain, '-purpose', 'sslclient', paths.server])).code, 0)
})

test('a device certificate says who it is, where its CRL is, and nothing the key holder chose', async () => {
  const authority = authorityOf(dataDir)
  await authority.start()
  const signed = await authority.signDevice({ tenant: 'acme', device: 'pump_1', publicKey: await newPublicKey() })
  const certificate = new X509Certificate(signed.pem)
  assert.equal(certificate.subject, 'O=acme\nCN=pump_1')
  assert.equal(certificate.subjectAltName, 'URI:urn:fleetpulse:acme:pump_1')
  assert.equal(certificate.serialNumber, signed.serial)
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2'])
  assert.equal(certificate.ca, false)
  assert.match(certificate.infoAccess ?? '', /CA Issuers - URI:http:\/\/pki\.example:8081\/ca\/issuing\.crt/)
  assert.match(certificate.infoAccess ?? '', /OCSP - URI:http:\/\/pki\.example:8081\/ocsp/)
  assert.ok(certificate.raw.includes('http://pki.example:8081/crl/issuing.crl'))
  assert.equal(Date.parse(certificate.validTo), signed.notAfterMs)
})

test('serials are positive, at most 20 octets, and do not repeat', async () => {
  const authority = authorityOf(dataDir)
  await authority.start()
  const publicKey = await newPublicKey()
  const serials = new Set<string>()
  for (let i = 0; i < 50; i++) serials.add((await authority.signDevice({ tenant: 'acme', device: 'd', publicKey })).serial)
  assert.equal(serials.size, 50)
  for (const serial of serials) assert.match(serial, /^01[0-9A-F]{32}$/)
})

test('no certificate outlives its lifetime or its issuer', async () => {
  const folder = await newFolder()
  const clock = new VirtualClock()
  const authority = authorityOf(folder, clock)
  await authority.start()
  const publicKey = await newPublicKey()
  const short = await authority.signDevice({ tenant: 'acme', device: 'd', publicKey, lifetimeMs: 3_600_000 })
  assert.equal(short.notAfterMs - short.notBeforeMs, 3_600_000 - 1_000)
  const long = await authority.signDevice({ tenant: 'acme', device: 'd', publicKey })
  assert.equal(long.notAfterMs - long.notBeforeMs, 365 * 86_400_000 - 1_000)
  await clock.advance(1_700 * 86_400_000)
  const late = await authority.signDevice({ tenant: 'acme', device: 'd', publicKey })
  assert.equal(late.notAfterMs, Date.parse(authority.issuing.validTo))
})

test('keys are readable by their owner alone', async () => {
  const modes: Record<string, number> = {}
  for (const name of await readdir(join(dataDir, 'pki'))) modes[name] = (await stat(join(dataDir, 'pki', name))).mode & 0o777
  assert.deepEqual(modes, {
    'authorities.json': 0o644,
    'ca.pem': 0o644,
    'format.json': 0o644,
    'issuing.crt': 0o644,
    'issuing.key': 0o600,
    'root.crl': 0o644,
    'root.crt': 0o644,
    'root.key': 0o600,
  })
  assert.equal((await stat(join(dataDir, 'pki'))).mode & 0o777, 0o700)
})

test('a later start uses what is there', async () => {
  const first = await readFile(join(dataDir, 'pki/ca.pem'), 'utf8')
  const authority = authorityOf(dataDir)
  await authority.start()
  await authority.start()
  assert.equal(authority.caPem, first)
})

test('leftovers of a first start that was cut short are removed, and it begins anew', async () => {
  const folder = await newFolder()
  const unfinished = join(folder, '.pki-0123456789abcdef.tmp')
  await mkdir(unfinished)
  await writeFile(join(unfinished, 'root.key'), 'half')
  await authorityOf(folder).start()
  assert.deepEqual(await readdir(folder), ['ca-passphrase', 'pki'])
})

test('damaged, missing, foreign and newer files are named in one sentence, and nothing is overwritten', async () => {
  const other = await newFolder()
  await copyFile(join(dataDir, 'ca-passphrase'), join(other, 'ca-passphrase'))
  await authorityOf(other).start()
  const foreign = (name: string): Promise<string> => readFile(join(other, 'pki', name), 'utf8')
  const cases: [name: string, content: string | undefined, code: string, says: RegExp][] = [
    ['root.key', 'not a key', 'STORE_CORRUPT', /root\.key is not a readable/],
    ['issuing.key', '', 'STORE_CORRUPT', /issuing\.key is not a readable/],
    ['issuing.key', undefined, 'STORE_CORRUPT', /issuing\.key is missing/],
    ['root.crt', undefined, 'STORE_CORRUPT', /root\.crt is missing/],
    [
      'issuing.crt',
      '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
      'STORE_CORRUPT',
      /issuing\.crt is not a readable certificate/,
    ],
    ['issuing.key', await foreign('issuing.key'), 'STORE_CORRUPT', /issuing\.key does not belong to its certificate/],
    ['root.key', await foreign('root.key'), 'STORE_CORRUPT', /root\.key does not belong/],
    ['format.json', '{"format":3}', 'STORE_NEWER', /newer Fleetpulse \(format 3/],
    ['format.json', '{', 'STORE_CORRUPT', /format\.json is not readable JSON/],
    ['format.json', 'null', 'STORE_CORRUPT', /format\.json names no known format/],
  ]
  for (const [name, content, code, says] of cases) {
    const path = join(dataDir, 'pki', name)
    const good = await readFile(path)
    if (content === undefined) await rm(path)
    else await writeFile(path, content)
    const before = await snapshot(join(dataDir, 'pki'))
    await assert.rejects(authorityOf(dataDir).start(), (error: unknown) => {
      assert.ok(error instanceof StoreError)
      assert.equal(error.code, code)
      assert.match(error.message, says)
      assert.ok(error.remedy)
      return true
    })
    assert.deepEqual(await snapshot(join(dataDir, 'pki')), before)
    await writeFile(path, good)
    await chmod(path, name.endsWith('.key') ? 0o600 : 0o644)
  }
})

test('an issuing CA of another root is refused', async () => {
  const folder = await newFolder()
  const other = await newFolder()
  await authorityOf(folder).start()
  await copyFile(join(folder, 'ca-passphrase'), join(other, 'ca-passphrase'))
  await authorityOf(other).start()
  for (const name of ['issuing.key', 'issuing.crt']) await writeFile(join(folder, 'pki', name), await readFile(join(other, 'pki', name)))
  await assert.rejects(authorityOf(folder).start(), /issuing\.crt was not signed by the CA in root\.crt/)
})

test('an expired issuing CA is said so', async () => {
  const folder = await newFolder()
  const clock = new VirtualClock()
  await authorityOf(folder, clock).start()
  await clock.advance(1_827 * 86_400_000)
  await assert.rejects(authorityOf(folder, clock).start(), /expired on/)
})

test('a data folder that cannot be used is said so', async () => {
  const folder = await newFolder()
  await writeFile(join(folder, 'file'), '')
  await assert.rejects(
    authorityOf(join(folder, 'file')).start(),
    (error: unknown) => error instanceof StoreError && error.code === 'STORE_UNUSABLE',
  )
})

async function snapshot(folder: string): Promise<Record<string, string>> {
  const contents: Record<string, string> = {}
  for (const name of await readdir(folder)) contents[name] = await readFile(join(folder, name), 'utf8')
  return contents
}
