import type { X509Certificate } from 'node:crypto'
import type { CaKey } from './ca-key.ts'
import { newSerial } from './serial.ts'
import type { Validity } from './validity.ts'
import { x509 } from './x509.ts'

/** A certificate fresh from the signer. */
export interface SignedCertificate extends Validity {
  /** Upper-case hex without separators. */
  serial: string
  pem: string
  der: Buffer
}

/** Relative distinguished names, most significant first; each holds one attribute, for instance `{ CN: ['d1'] }`. */
export type SubjectName = Record<string, string[]>[]

export interface CertificateContent {
  subject: SubjectName
  /** DER SubjectPublicKeyInfo of the holder. */
  publicKey: Uint8Array
  /** The signing CA's name, as its own certificate spells it: names are compared byte for byte. RFC 5280 §7.1 */
  issuer: InstanceType<typeof x509.Name> | SubjectName
  signingKey: CaKey
  validity: Validity
  extensions: InstanceType<typeof x509.Extension>[]
}

/** Builds and signs one certificate, version 3, ecdsa-with-SHA256. RFC 5280 §4.1 */
export async function signCertificate(content: CertificateContent): Promise<SignedCertificate> {
  const serial = newSerial()
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: content.subject,
    issuer: content.issuer,
    notBefore: new Date(content.validity.notBeforeMs),
    notAfter: new Date(content.validity.notAfterMs),
    publicKey: content.publicKey,
    signingKey: content.signingKey.webKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: content.extensions,
  })
  return { serial, ...content.validity, der: Buffer.from(certificate.rawData), pem: toPem('CERTIFICATE', Buffer.from(certificate.rawData)) }
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
