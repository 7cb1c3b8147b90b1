import { createPublicKey, randomBytes, X509Certificate, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { writeFileAtomically } from '../../kernel/files.ts'
import { issuingExtensions, keyIdentifier, rootExtensions } from './extensions.ts'
import { caOf } from './issuing-ca.ts'
import type { Signer } from './keys/key-store.ts'
import type { KeyStores } from './keys/key-stores.ts'
import { writeRegister } from './register.ts'
import { signRootCrl } from './root-crl.ts'
import { encodeName, signCertificate, toPem, type SignedCertificate, type SubjectName } from './sign-certificate.ts'
import { validity } from './validity.ts'

/** Files of a PKI folder, beside one certificate (and key, and CRL) for each CA. `server.pem` is added later, by its own keeper. */
export const PKI_FILES = {
  format: 'format.json',
  /** Roots and live issuing CAs: what a device or a person trusts. */
  trust: 'ca.pem',
  /** Key and chain in one file, so that a crash cannot leave halves that do not fit. */
  server: 'server.pem',
} as const

/** Layout of the folder; a higher number on disk means a newer Fleetpulse wrote it. */
export const PKI_FORMAT = 2

/** How CA certificates are made. */
export interface CaProfile {
  backdateMs: number
  rootLifetimeMs: number
  issuingLifetimeMs: number
  rootCrlLifetimeMs: number
  /** Address of the root's CRL, written into issuing CAs; undefined when it is not known yet. */
  rootCrlUrl: ((rootId: string) => string) | undefined
}

/** Makes a root CA, its CRL and an issuing CA in an empty folder. The caller moves the finished folder into place. */
export async function makePki(folder: string, keys: KeyStores, profile: CaProfile, nowMs: number): Promise<void> {
  // One installation's CAs must not share a name with another's: verifiers that trust both look issuers up by name.
  const mark = randomBytes(4).toString('hex').toUpperCase()
  const rootKey = await keys.make('root', mark)
  const root = await signRoot(rootKey.signer, mark, profile, nowMs)
  const issuingKey = await keys.make('issuing', mark)
  const rootCa = { ...caOf(new X509Certificate(root.der)), id: 'root', key: rootKey.signer }
  const issuing = await signIssuing(rootCa, issuingKey.signer.publicKey, caName('Issuing', mark), profile, nowMs)
  const crl = await signRootCrl(rootCa, [], { nowMs, lifetimeMs: profile.rootCrlLifetimeMs, lastNumber: 0 })
  await writeFileAtomically(join(folder, 'root.crt'), root.pem, 0o644)
  await writeFileAtomically(join(folder, 'root.crl'), toPem('X509 CRL', crl.der), 0o644)
  await writeFileAtomically(join(folder, 'issuing.crt'), issuing.pem, 0o644)
  await writeFileAtomically(join(folder, PKI_FILES.trust), root.pem + issuing.pem, 0o644)
  await writeRegister(folder, {
    mark,
    roots: [{ id: 'root', key: rootKey.ref, crlNumber: crl.number }],
    issuers: [{ id: 'issuing', root: 'root', key: issuingKey.ref, issuesFromMs: nowMs, retired: null }],
    requests: [],
  })
  await writeFormat(folder)
}

export async function writeFormat(folder: string): Promise<void> {
  await writeFileAtomically(join(folder, PKI_FILES.format), `${JSON.stringify({ format: PKI_FORMAT })}\n`, 0o644)
}

async function signRoot(key: Signer, mark: string, profile: CaProfile, nowMs: number): Promise<SignedCertificate> {
  const publicKey = key.publicKey.export({ format: 'der', type: 'spki' })
  const keyId = keyIdentifier(publicKey)
  const subject = caName('Root', mark)
  return signCertificate({
    subject,
    issuer: { name: encodeName(subject), keyId, key },
    publicKey,
    validity: validity({ nowMs, backdateMs: profile.backdateMs, lifetimeMs: profile.rootLifetimeMs, issuerNotAfterMs: Infinity }),
    extensions: rootExtensions(keyId),
  })
}

/** An issuing CA below a root of ours. */
export async function signIssuing(
  root: { id: string; certificate: X509Certificate; name: Buffer; keyId: string; key: Signer },
  publicKey: KeyObject,
  subject: SubjectName,
  profile: CaProfile,
  nowMs: number,
): Promise<SignedCertificate> {
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const issuerNotAfterMs = Date.parse(root.certificate.validTo)
  return signCertificate({
    subject,
    issuer: root,
    publicKey: spki,
    validity: validity({ nowMs, backdateMs: profile.backdateMs, lifetimeMs: profile.issuingLifetimeMs, issuerNotAfterMs }),
    extensions: issuingExtensions(keyIdentifier(spki), root.keyId, profile.rootCrlUrl?.(root.id)),
  })
}

/** Each CA has a name of its own, for issuer and serial together must name one certificate. RFC 5280 §4.1.2.2 */
export function caName(role: string, mark: string): SubjectName {
  return [{ O: ['Fleetpulse'] }, { CN: [`Fleetpulse ${role} CA ${mark}`] }]
}

/** DER SubjectPublicKeyInfo of a private key. */
export function publicKeyOf(privateKeyPem: string): Buffer {
  return createPublicKey(privateKeyPem).export({ format: 'der', type: 'spki' })
}
