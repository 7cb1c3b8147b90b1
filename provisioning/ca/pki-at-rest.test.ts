import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { StoreError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock } from '../../kernel/time.ts'
import type { ProvisioningConfig } from '../config.ts'
import { temporaryFolder, testConfig } from '../testing/station.ts'
import { CertificateAuthority } from './authority.ts'
import { newPrivateKeyPem } from './ca-key.ts'
import { changePassphrase } from './change-passphrase.ts'
import { PassphraseSealer } from './keys/passphrase-sealer.ts'
import { publicKeyOf } from './make-pki.ts'
import { ServerCertificate } from './server-certificate.ts'

const folders: string[] = []
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

async function newFolder(): Promise<string> {
  const folder = await temporaryFolder()
  folders.push(folder)
  return folder
}

async function open(dataDir: string, changes: Partial<ProvisioningConfig> = {}): Promise<CertificateAuthority> {
  const authority = new CertificateAuthority({
    dataDir,
    config: testConfig(changes),
    clock: systemClock,
    log: silentLogger,
    pkiUrl: () => 'http://pki.example',
  })
  await authority.start()
  return authority
}

function keyOf(dataDir: string, name: string): Promise<string> {
  return readFile(join(dataDir, 'pki', name), 'utf8')
}

/** Back to the folder that versions before keys were encrypted made. */
async function makeFormat1(dataDir: string): Promise<void> {
  const passphrase = (await readFile(join(dataDir, 'ca-passphrase'), 'utf8')).trim()
  for (const name of ['root.key', 'issuing.key']) {
    const key = createPrivateKey({ key: await keyOf(dataDir, name), passphrase })
    await writeFile(join(dataDir, 'pki', name), key.export({ format: 'pem', type: 'pkcs8' }))
  }
  await writeFile(join(dataDir, 'pki/format.json'), '{"format":1}\n')
  for (const name of ['pki/authorities.json', 'pki/root.crl', 'ca-passphrase']) await rm(join(dataDir, name))
}

async function worksAs(authority: CertificateAuthority, issuer: string): Promise<void> {
  const signed = await authority.signDevice({ tenant: 'acme', device: 'd1', publicKey: publicKeyOf(await newPrivateKeyPem()) })
  assert.equal(signed.issuer, issuer)
}

test('a first start needs nothing: a passphrase of its own lies beside the folder, for its owner alone', async () => {
  const dataDir = await newFolder()
  await open(dataDir)
  assert.equal((await stat(join(dataDir, 'ca-passphrase'))).mode & 0o777, 0o600)
  assert.match(await readFile(join(dataDir, 'ca-passphrase'), 'utf8'), /^[A-Za-z0-9_-]{43}\n$/)
  for (const name of ['root.key', 'issuing.key']) assert.match(await keyOf(dataDir, name), /^-----BEGIN ENCRYPTED PRIVATE KEY/)
  await open(dataDir)
})

test('a passphrase that was configured opens it, another one does not; the file of the data folder is not made', async () => {
  const dataDir = await newFolder()
  const first = await open(dataDir, { caPassphrase: 'correct horse' })
  assert.deepEqual(await readdir(dataDir), ['pki'])
  const refused = (error: unknown): boolean =>
    error instanceof StoreError && /^The passphrase from FLEETPULSE_CA_PASSPHRASE does not open the CA key/.test(error.message)
  await assert.rejects(open(dataDir, { caPassphrase: 'wrong' }), refused)
  const file = join(dataDir, 'mounted-secret')
  await writeFile(file, 'correct horse\n')
  await worksAs(await open(dataDir, { caPassphraseFile: file }), first.current.keyId)
})

test('without its passphrase file it says so, and does not make another', async () => {
  const dataDir = await newFolder()
  await open(dataDir)
  await rm(join(dataDir, 'ca-passphrase'))
  await assert.rejects(open(dataDir), /ca-passphrase of the CA keys is missing/)
  assert.deepEqual(await readdir(dataDir), ['pki'])
  await writeFile(join(dataDir, 'ca-passphrase'), '\n')
  await assert.rejects(open(dataDir), /ca-passphrase of the CA keys is empty/)
})

test('a folder with unencrypted keys is opened and upgraded: the same CAs, now encrypted, with a CRL of the root', async () => {
  const dataDir = await newFolder()
  const before = await open(dataDir)
  await makeFormat1(dataDir)
  const upgraded = await open(dataDir)
  assert.equal(upgraded.caPem, before.caPem)
  await worksAs(upgraded, before.current.keyId)
  for (const name of ['root.key', 'issuing.key']) assert.match(await keyOf(dataDir, name), /^-----BEGIN ENCRYPTED PRIVATE KEY/)
  assert.equal(JSON.parse(await keyOf(dataDir, 'format.json')).format, 2)
  assert.ok(upgraded.roots[0]?.crl)
  await worksAs(await open(dataDir), before.current.keyId)
})

test('an upgrade that was cut short anywhere is finished by the next start', async () => {
  const dataDir = await newFolder()
  const before = await open(dataDir)
  await makeFormat1(dataDir)
  // The register is there, the format is not told yet.
  await open(dataDir)
  await writeFile(join(dataDir, 'pki/format.json'), '{"format":1}\n')
  await worksAs(await open(dataDir), before.current.keyId)
  // One key is encrypted, the other is not yet.
  const passphrase = (await readFile(join(dataDir, 'ca-passphrase'), 'utf8')).trim()
  const plain = createPrivateKey({ key: await keyOf(dataDir, 'issuing.key'), passphrase })
  await writeFile(join(dataDir, 'pki/issuing.key'), plain.export({ format: 'pem', type: 'pkcs8' }))
  await worksAs(await open(dataDir), before.current.keyId)
  assert.match(await keyOf(dataDir, 'issuing.key'), /^-----BEGIN ENCRYPTED/)
})

test('a root key that was carried away makes the root an offline one; issuing goes on', async () => {
  const dataDir = await newFolder()
  const before = await open(dataDir)
  await rename(join(dataDir, 'pki/root.key'), join(dataDir, 'carried-away.key'))
  const authority = await open(dataDir)
  assert.equal(authority.roots[0]?.key, undefined)
  await worksAs(authority, before.current.keyId)
})

test('the key of our listeners is encrypted in its file; one of before is encrypted at the next start; another passphrase does not open it', async () => {
  const dataDir = await newFolder()
  const authority = await open(dataDir)
  const serve = async (caPassphrase = ''): Promise<ServerCertificate> => {
    const config = testConfig({ caPassphrase })
    const keySealer = new PassphraseSealer({ config, dataDir })
    const certificate = new ServerCertificate({
      ...{ authority, config, keySealer, clock: systemClock, log: silentLogger, metrics: new Metrics() },
    })
    await certificate.start()
    await certificate.stop()
    return certificate
  }
  await serve()
  const sealed = await keyOf(dataDir, 'server.pem')
  assert.match(sealed, /^-----BEGIN ENCRYPTED PRIVATE KEY[^]*-----BEGIN CERTIFICATE/)
  await serve()
  assert.equal(await keyOf(dataDir, 'server.pem'), sealed)
  const passphrase = (await readFile(join(dataDir, 'ca-passphrase'), 'utf8')).trim()
  const plain = createPrivateKey({ key: sealed, passphrase }).export({ format: 'pem', type: 'pkcs8' })
  const path = join(dataDir, 'pki/server.pem')
  await writeFile(path, String(plain) + sealed.slice(sealed.indexOf('-----BEGIN CERTIFICATE')))
  await serve()
  const again = await keyOf(dataDir, 'server.pem')
  assert.match(again, /^-----BEGIN ENCRYPTED PRIVATE KEY/)
  assert.equal(again.split('-----BEGIN CERTIFICATE')[1], sealed.split('-----BEGIN CERTIFICATE')[1], 'the same certificate')
  await assert.rejects(serve('another'), { code: 'STORE_UNUSABLE' })
  assert.equal(await keyOf(dataDir, 'server.pem'), again)
})

test('a damaged register is named, and nothing is overwritten', async () => {
  const dataDir = await newFolder()
  await open(dataDir)
  const path = join(dataDir, 'pki/authorities.json')
  const good = await readFile(path, 'utf8')
  const cases: [string, RegExp][] = [
    ['{', /authorities\.json is not readable JSON/],
    ['{}', /authorities\.json does not fit at "mark"/],
    [good.replace('"root": "root"', '"root": "root-7"'), /names a root "root-7" that it does not list/],
  ]
  for (const [content, says] of cases) {
    await writeFile(path, content)
    await assert.rejects(open(dataDir), (error: unknown) => error instanceof StoreError && says.test(error.message))
    assert.equal(await readFile(path, 'utf8'), content)
  }
})

test('the passphrase is changed while nothing runs: from the own file to one that is configured, to another, and back', async () => {
  const dataDir = await newFolder()
  const keyId = (await open(dataDir)).current.keyId
  const change = (oldPassphrase: string, caPassphrase: string): Promise<string[]> =>
    changePassphrase({ dataDir, oldPassphrase, config: testConfig({ caPassphrase }), log: silentLogger })
  // The key of statements is opened by another station; here it is any key beside them.
  const own = new PassphraseSealer({ config: testConfig(), dataDir })
  await writeFile(join(dataDir, 'statement-key.pem'), await own.seal(createPrivateKey(await newPrivateKeyPem())))
  await assert.rejects(change('', ''), /the new passphrase is the old one/)
  assert.deepEqual(await change('', 'first'), ['root', 'issuing', 'statement-key.pem'])
  assert.deepEqual((await readdir(dataDir)).sort(), ['pki', 'statement-key.pem'])
  const other = new PassphraseSealer({ config: testConfig({ caPassphrase: 'first' }), dataDir })
  await other.open(await readFile(join(dataDir, 'statement-key.pem'), 'utf8'), 'it')
  await worksAs(await open(dataDir, { caPassphrase: 'first' }), keyId)
  await assert.rejects(change('wrong', 'second'), /from FLEETPULSE_CA_OLD_PASSPHRASE does not open/)
  // Cut short after one of the two keys.
  const before = await keyOf(dataDir, 'issuing.key')
  await change('first', 'second')
  await writeFile(join(dataDir, 'pki/issuing.key'), before)
  assert.deepEqual(await change('first', 'second'), ['issuing'])
  await worksAs(await open(dataDir, { caPassphrase: 'second' }), keyId)
  await change('second', '')
  await worksAs(await open(dataDir), keyId)
})
