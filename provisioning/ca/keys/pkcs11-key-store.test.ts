import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { EnvironmentError, StoreError } from '../../../kernel/errors.ts'
import { silentLogger } from '../../../kernel/log.ts'
import { Secret } from '../../../kernel/secret.ts'
import { systemClock } from '../../../kernel/time.ts'
import { openssl, run } from '../../testing/openssl.ts'
import { testConfig } from '../../testing/station.ts'
import { AuthorityChanges } from '../authority-changes.ts'
import { CertificateAuthority } from '../authority.ts'
import { newPrivateKeyPem } from '../ca-key.ts'
import { publicKeyOf } from '../make-pki.ts'
import { toPem } from '../sign-certificate.ts'
import { keyStoreContract } from './key-store.contract.ts'
import { Pkcs11KeyStore } from './pkcs11-key-store.ts'

/*
 * On SoftHSM2, a token in software: Debian's package softhsm2, and the optional package pkcs11js, which is compiled at its install.
 */

const LIBRARIES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
]
const LABEL = 'fleetpulse-test'
const PIN = '4711'

const library = LIBRARIES.find((path) => existsSync(path)) ?? ''
const folder = mkdtempSync(join(tmpdir(), 'fleetpulse-softhsm-'))
const skip = missing()
const stores: Pkcs11KeyStore[] = []

function missing(): string | false {
  if (library === '') return 'NOT TESTED: SoftHSM2 (Debian package softhsm2) is not installed'
  return isPackageThere() ? false : 'NOT TESTED: the optional package pkcs11js is not installed'
}

function isPackageThere(): boolean {
  try {
    createRequire(import.meta.url).resolve('pkcs11js')
    return true
  } catch {
    return false
  }
}

function store(changes: { tokenLabel?: string; pin?: string; module?: string } = {}): Pkcs11KeyStore {
  const { tokenLabel = LABEL, pin = PIN, module = library } = changes
  const made = new Pkcs11KeyStore({ module, tokenLabel, pin: new Secret(pin), log: silentLogger })
  stores.push(made)
  return made
}

before(async () => {
  if (skip !== false) return
  mkdirSync(join(folder, 'tokens'))
  writeFileSync(join(folder, 'softhsm2.conf'), `directories.tokendir = ${join(folder, 'tokens')}\nlog.level = ERROR\n`)
  process.env.SOFTHSM2_CONF = join(folder, 'softhsm2.conf')
  const made = await run('softhsm2-util', ['--init-token', '--free', '--label', LABEL, '--so-pin', '1234', '--pin', PIN])
  assert.equal(made.code, 0, made.stderr)
})
after(async () => {
  for (const each of stores) await each.close()
  await rm(folder, { recursive: true, force: true })
})

test('without the optional package it is said what is missing and how to get it', { skip: isPackageThere() && 'it is there' }, async () => {
  await assert.rejects(store().has('x'), (error: unknown) => {
    assert.ok(error instanceof EnvironmentError)
    assert.equal(error.code, 'PKCS11_MISSING')
    assert.match(error.remedy ?? '', /npm install pkcs11js.*caKeyStore/)
    return true
  })
})

// First: a token is logged in to for the whole process.
test('a wrong PIN, an unknown token and a missing library are one clear sentence each', { skip }, async () => {
  const cases: [Parameters<typeof store>[0], RegExp][] = [
    [{ tokenLabel: 'other' }, /has no token labelled "other"\.$/],
    [{ pin: '0000' }, /refuses the PIN: CKR_PIN_INCORRECT\.$/],
    [{ module: join(folder, 'none.so') }, /cannot look for a key: /],
  ]
  for (const [changes, says] of cases) {
    await assert.rejects(store(changes).has('x'), (error: unknown) => error instanceof StoreError && says.test(error.message))
  }
})

keyStoreContract('PKCS#11', skip, () => Promise.resolve(store()))

test('root and issuing CA in a token: what they sign passes openssl, and no key lies in the folder', { skip }, async () => {
  const dataDir = join(folder, 'data')
  const config = testConfig({ caKeyStore: 'pkcs11', pkcs11Module: library, pkcs11TokenLabel: LABEL, pkcs11Pin: PIN })
  const open = (): CertificateAuthority =>
    new CertificateAuthority({ dataDir, config, clock: systemClock, log: silentLogger, pkiUrl: () => 'http://pki.example' })
  const first = open()
  await first.start()
  const changes = new AuthorityChanges(first, { crossOverDelayMs: 0 })
  await changes.roll()
  await first.stop()
  const authority = open()
  await authority.start()
  assert.equal(authority.current.id, 'issuing-2')
  const device = await authority.signDevice({ tenant: 'acme', device: 'd1', publicKey: publicKeyOf(await newPrivateKeyPem()) })
  const nowMs = systemClock.nowMs()
  const crl = await authority.signCrl(
    { number: 1, thisUpdateMs: nowMs - 1_000, nextUpdateMs: nowMs + 60_000, entries: [] },
    authority.current,
  )
  await authority.stop()
  const path = (name: string): string => join(dataDir, name)
  for (const name of ['root.key', 'issuing.key', 'issuing-2.key']) assert.equal(existsSync(join(dataDir, 'pki', name)), false, name)
  writeFileSync(path('device.pem'), device.pem)
  writeFileSync(path('crl.pem'), toPem('X509 CRL', crl))
  const crls = ['-crl_check_all', '-CRLfile', path('crl.pem'), '-CRLfile', path('pki/root.crl')]
  await openssl(['verify', '-x509_strict', ...crls, '-CAfile', path('pki/ca.pem'), path('device.pem')])
})
