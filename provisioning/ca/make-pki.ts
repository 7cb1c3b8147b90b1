import { createPrivateKey, createPublicKey, randomBytes, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { writeFileAtomically } from '../../kernel/files.ts'
import { newPrivateKeyPem } from './ca-key.ts'
import { issuingExtensions, keyIdentifier, rootExtensions } from './extensions.ts'
import { issuingCa } from './issuing-ca.ts'
import { privateKeySigner } from './keys/private-key-signer.ts'
import { encodeName, signCertificate, type SubjectName } from './sign-certificate.ts'
import { validity } from './validity.ts'

/** Files of a PKI folder. `server.pem` is added later, by the server certificate's own keeper. */
export const PKI_FILES = {
  format: 'format.json',
  rootKey: 'root.key',
  rootCertificate: 'root.crt',
  issuingKey: 'issuing.key',
  issuingCertificate: 'issuing.crt',
  /** Root and issuing CA: what a device or a person trusts. */
  trust: 'ca.pem',
  /** Key and chain in one file, so that a crash cannot leave halves that do not fit. */
  server: 'server.pem',
} as const

/** Layout of the folder; a higher number on disk means a newer Fleetpulse wrote it. */
export const PKI_FORMAT = 1

export interface PkiLifetimes {
  nowMs: number
  backdateMs: number
  rootLifetimeMs: number
  issuingLifetimeMs: number
}

/** Makes a root CA and an issuing CA in an empty folder. The caller moves the finished folder into place. */
export async function makePki(folder: string, lifetimes: PkiLifetimes): Promise<void> {
  // One installation's CAs must not share a name with another's: verifiers that trust both look issuers up by name.
  const mark = randomBytes(4).toString('hex').toUpperCase()
  const rootKeyPem = await newPrivateKeyPem()
  const rootKey = privateKeySigner(createPrivateKey(rootKeyPem))
  const rootPublicKey = publicKeyOf(rootKeyPem)
  const rootKeyId = keyIdentifier(rootPublicKey)
  const rootName = caName('Root', mark)
  const { nowMs, backdateMs } = lifetimes
  const root = await signCertificate({
    subject: rootName,
    issuer: { name: encodeName(rootName), keyId: rootKeyId, key: rootKey },
    publicKey: rootPublicKey,
    validity: validity({ nowMs, backdateMs, lifetimeMs: lifetimes.rootLifetimeMs, issuerNotAfterMs: Infinity }),
    extensions: rootExtensions(rootKeyId),
  })
  const issuingKeyPem = await newPrivateKeyPem()
  const issuingPublicKey = publicKeyOf(issuingKeyPem)
  const issuing = await signCertificate({
    subject: caName('Issuing', mark),
    issuer: issuingCa('root', new X509Certificate(root.der), rootKey),
    publicKey: issuingPublicKey,
    validity: validity({ nowMs, backdateMs, lifetimeMs: lifetimes.issuingLifetimeMs, issuerNotAfterMs: root.notAfterMs }),
    extensions: issuingExtensions(keyIdentifier(issuingPublicKey), rootKeyId),
  })
  await writeFileAtomically(join(folder, PKI_FILES.rootKey), rootKeyPem)
  await writeFileAtomically(join(folder, PKI_FILES.rootCertificate), root.pem, 0o644)
  await writeFileAtomically(join(folder, PKI_FILES.issuingKey), issuingKeyPem)
  await writeFileAtomically(join(folder, PKI_FILES.issuingCertificate), issuing.pem, 0o644)
  await writeFileAtomically(join(folder, PKI_FILES.trust), root.pem + issuing.pem, 0o644)
  await writeFileAtomically(join(folder, PKI_FILES.format), `${JSON.stringify({ format: PKI_FORMAT })}\n`, 0o644)
}

function caName(role: 'Root' | 'Issuing', mark: string): SubjectName {
  return [{ O: ['Fleetpulse'] }, { CN: [`Fleetpulse ${role} CA ${mark}`] }]
}

/** DER SubjectPublicKeyInfo of a private key. */
export function publicKeyOf(privateKeyPem: string): Buffer {
  return createPublicKey(privateKeyPem).export({ format: 'der', type: 'spki' })
}
