import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { StoreError } from '../../../kernel/errors.ts'
import { silentLogger } from '../../../kernel/log.ts'
import { Secret } from '../../../kernel/secret.ts'
import { openssl, run, skipWithout } from '../../testing/openssl.ts'
import { newPrivateKeyPem } from '../ca-key.ts'
import { FileKeyStore } from './file-key-store.ts'
import { keyStoreContract } from './key-store.contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'fleetpulse-keys-'))
after(() => rm(folder, { recursive: true, force: true }))

function store(passphrase = 'correct horse'): FileKeyStore {
  return new FileKeyStore({
    folder,
    passphrase: { secret: new Secret(passphrase), iterations: 2_048, source: 'the test' },
    log: silentLogger,
  })
}

keyStoreContract('files', false, () => Promise.resolve(store()))

test('openssl opens a key with its passphrase and with no other; the file is its owner’s', { skip: skipWithout('openssl') }, async () => {
  await store().make('at-rest', 'ecdsa-p384')
  const path = join(folder, 'at-rest.key')
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.match(await readFile(path, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
  assert.match(await openssl(['pkey', '-in', path, '-passin', 'pass:correct horse', '-noout', '-text']), /P-384/)
  assert.notEqual((await run('openssl', ['pkey', '-in', path, '-passin', 'pass:wrong', '-noout'])).code, 0)
  const parameters = await openssl(['asn1parse', '-in', path])
  for (const part of ['PBES2', 'PBKDF2', 'hmacWithSHA256', 'aes-256-cbc']) assert.ok(parameters.includes(part), part)
})

test('a wrong passphrase and a damaged file are one clear sentence, and nothing is written', async () => {
  await store().make('guarded', 'ecdsa-p256')
  const path = join(folder, 'guarded.key')
  const good = await readFile(path, 'utf8')
  const refused = (error: unknown): boolean => {
    assert.ok(error instanceof StoreError)
    assert.match(error.message, /^The passphrase from the test does not open the CA key .*guarded\.key, or that file is damaged\.$/)
    assert.doesNotMatch(JSON.stringify(error), /correct horse|wrong one/)
    return true
  }
  await assert.rejects(store('wrong one').open('guarded'), refused)
  const lines = good.split('\n')
  const damaged = [...lines.slice(0, 4), lines[4]?.replace(/^..../, 'AAAA'), ...lines.slice(5)].join('\n')
  await writeFile(path, damaged)
  await assert.rejects(store().open('guarded'), refused)
  assert.equal(await readFile(path, 'utf8'), damaged)
})

test('a key that lies there unencrypted is opened, and encrypted by that', async () => {
  const path = join(folder, 'plain.key')
  const pem = await newPrivateKeyPem()
  await writeFile(path, pem)
  const opened = await store().open('plain')
  assert.match(await readFile(path, 'utf8'), /^-----BEGIN ENCRYPTED/)
  assert.ok((await store().open('plain')).publicKey.equals(opened.publicKey))
})
