import { explicit, integerFromHex, objectIdentifier, sequence, set } from './der.ts'
import { x509 } from './x509.ts'

const SIGNED_DATA = objectIdentifier('1.2.840.113549.1.7.2')
const DATA = objectIdentifier('1.2.840.113549.1.7.1')
const VERSION_1 = integerFromHex('01')

/**
 * Certificates as a certs-only CMC Simple PKI Response: a SignedData without signers and without content (RFC 5272 §4.1: eContent is
 * absent), base64 as EST sends it (RFC 7030 §4.1.3; line breaks are allowed and ignored, RFC 8951 §3.1).
 */
export function encodeCertsOnly(certificates: readonly Uint8Array[]): string {
  // `[0] IMPLICIT CertificateSet` is constructed, so it is written like an explicit tag.
  const signedData = sequence(VERSION_1, set(), sequence(DATA), explicit(0, Buffer.concat(certificates)), set())
  return base64Lines(sequence(SIGNED_DATA, explicit(0, signedData)))
}

/** The certificates of such an answer, DER. Throws when it is not one. */
export function decodeCertsOnly(base64: string): Buffer[] {
  const collection = new x509.X509Certificates(Buffer.from(base64, 'base64'))
  return [...collection].map((certificate) => Buffer.from(certificate.rawData))
}

/** 64 characters a line, line feeds: read by `openssl base64 -d` and `base64 -d` alike. */
export function base64Lines(content: Uint8Array): string {
  const lines =
    Buffer.from(content)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `${lines.join('\n')}\n`
}
