import type { X509Certificate } from 'node:crypto'
import { bitString, explicit, integerFromHex, sequence, time } from './der.ts'
import type { Signer } from './keys/key-store.ts'
import { newSerial } from './serial.ts'
import type { Validity } from './validity.ts'
import { x509 } from './x509.ts'

/** A certificate fresh from the signer. */
export interface SignedCertificate extends Validity {
  /** Upper-case hex without separators. */
  serial: string
  /** Authority key identifier: the subject key identifier of the CA that signed it, lower-case hex; its own for a root. */
  issuer: string
  pem: string
  der: Buffer
}

/** Relative distinguished names, most significant first; each holds one attribute, for instance `{ CN: ['d1'] }`. */
export type SubjectName = Record<string, string[]>[]

export interface CertificateContent {
  subject: SubjectName
  /** DER SubjectPublicKeyInfo of the holder. */
  publicKey: Uint8Array
  /** The signing CA: its name as its own certificate spells it, for names are compared byte for byte (RFC 5280 §7.1), and its key. */
  issuer: { name: Uint8Array; keyId: string; key: Signer }
  validity: Validity
  extensions: readonly InstanceType<typeof x509.Extension>[]
}

const VERSION_3 = explicit(0, integerFromHex('02'))

/** Builds and signs one certificate, version 3. RFC 5280 §4.1 */
export async function signCertificate(content: CertificateContent): Promise<SignedCertificate> {
  const { issuer, validity } = content
  const serial = newSerial()
  const toBeSigned = sequence(
    VERSION_3, // §4.1.2.1
    integerFromHex(serial),
    issuer.key.signatureAlgorithm, // §4.1.2.3: the same as outside
    issuer.name,
    sequence(time(validity.notBeforeMs), time(validity.notAfterMs)),
    encodeName(content.subject),
    content.publicKey,
    explicit(3, sequence(...content.extensions.map((extension) => new Uint8Array(extension.rawData)))),
  )
  const der = sequence(toBeSigned, issuer.key.signatureAlgorithm, bitString(await issuer.key.sign(toBeSigned)))
  return { serial, issuer: issuer.keyId, ...validity, der, pem: toPem('CERTIFICATE', der) }
}

/** DER Name. RFC 5280 §4.1.2.4 */
export function encodeName(name: SubjectName): Buffer {
  return Buffer.from(new x509.Name(name).toArrayBuffer())
}

/** The subject of a certificate, for use as `issuer`. */
export function subjectOf(certificate: X509Certificate): InstanceType<typeof x509.Name> {
  return new x509.X509Certificate(certificate.raw).subjectName
}

/** PEM text with 64 characters a line and a newline at its end. RFC 7468 §2 */
export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
