import type { X509Certificate } from 'node:crypto'
import { keyIdentifierOf } from './extensions.ts'
import type { Signer } from './keys/key-store.ts'
import { subjectOf } from './sign-certificate.ts'

/** A CA of ours that signs leaves, CRLs and OCSP answers. There may be several at once. */
export interface IssuingCa {
  /** Names it within this installation, and in the addresses of its CRL: `issuing`, `issuing-2`, … */
  readonly id: string
  readonly certificate: X509Certificate
  /** DER Name, as its own certificate spells it: names are compared byte for byte. RFC 5280 §7.1 */
  readonly name: Buffer
  /** Subject key identifier, lower-case hex: certificates carry it as authority key identifier, their records as `issuer`. */
  readonly keyId: string
  readonly key: Signer
}

export function issuingCa(id: string, certificate: X509Certificate, key: Signer): IssuingCa {
  return { id, certificate, name: Buffer.from(subjectOf(certificate).toArrayBuffer()), keyId: keyIdentifierOf(certificate), key }
}
