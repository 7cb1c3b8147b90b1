import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../../../kernel/time.ts'
import { openssl, skipWithout } from '../../testing/openssl.ts'
import { temporaryFolder } from '../../testing/station.ts'
import { encodeCrl } from '../crl.ts'
import { issuingExtensions, keyIdentifier, rootExtensions } from '../extensions.ts'
import { caOf } from '../issuing-ca.ts'
import { encodeName, signCertificate, toPem } from '../sign-certificate.ts'
import { privateKeySigner } from './private-key-signer.ts'

const folders: string[] = []
after(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

const KEYS: Record<string, () => KeyObject> = {
  'ECDSA P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'ECDSA P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  'RSA 3072': () => generateKeyPairSync('rsa', { modulusLength: 3_072 }).privateKey,
}

for (const [name, newKey] of Object.entries(KEYS)) {
  test(`openssl accepts certificates and CRLs signed with ${name}`, { skip: skipWithout('openssl') }, async () => {
    const folder = await temporaryFolder()
    folders.push(folder)
    const nowMs = Math.floor(systemClock.nowMs() / 1_000) * 1_000
    const validity = { notBeforeMs: nowMs - 60_000, notAfterMs: nowMs + 3_600_000 }
    const subject = [{ O: ['Fleetpulse'] }, { CN: [`Root of ${name}`] }]
    const key = privateKeySigner(newKey())
    const publicKey = key.publicKey.export({ format: 'der', type: 'spki' })
    const keyId = keyIdentifier(publicKey)
    const self = { name: encodeName(subject), keyId, key }
    const root = await signCertificate({ subject, issuer: self, publicKey, validity, extensions: rootExtensions(keyId) })
    const below = privateKeySigner(newKey()).publicKey.export({ format: 'der', type: 'spki' })
    const leaf = await signCertificate({
      subject: [{ CN: ['below'] }],
      issuer: { ...caOf(new X509Certificate(root.der)), key },
      publicKey: below,
      validity,
      extensions: issuingExtensions(keyIdentifier(below), keyId),
    })
    assert.equal(leaf.issuer, keyId)
    const crl = await encodeCrl({ number: 1, thisUpdateMs: nowMs - 1_000, nextUpdateMs: nowMs + 60_000, entries: [] }, self)
    const path = (file: string): string => join(folder, file)
    await writeFile(path('root.pem'), root.pem)
    await writeFile(path('leaf.pem'), leaf.pem)
    await writeFile(path('crl.pem'), toPem('X509 CRL', crl))
    await openssl(['verify', '-x509_strict', '-crl_check', '-CRLfile', path('crl.pem'), '-CAfile', path('root.pem'), path('leaf.pem')])
  })
}

test('a key that our CAs may not have is refused', () => {
  for (const key of [
    generateKeyPairSync('ed25519').privateKey,
    generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey,
    generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey,
  ]) {
    assert.throws(() => privateKeySigner(key), /must be ECDSA P-256 or P-384, or RSA/)
  }
})
