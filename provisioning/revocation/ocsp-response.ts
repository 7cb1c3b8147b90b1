import { CRL_REASONS } from '../../contracts/certificate.ts'
import {
  bitString,
  enumerated,
  explicit,
  generalizedTime,
  implicitConstructed,
  implicitPrimitive,
  objectIdentifier,
  octetString,
  sequence,
} from '../ca/der.ts'
import type { Signer } from '../ca/keys/key-store.ts'
import type { CertificateStatus } from './certificate-status.ts'

/** RFC 6960 §4.2.1: answers without a signature, for requests that get none with one. */
export const OCSP_ERRORS = { malformedRequest: 1, internalError: 2, tryLater: 3, unauthorized: 6 } as const
export type OcspError = keyof typeof OCSP_ERRORS

export interface SingleAnswer {
  /** DER CertID, as it was asked. */
  certId: Uint8Array
  status: CertificateStatus
}

export interface OcspAnswer {
  answers: readonly SingleAnswer[]
  thisUpdateMs: number
  nextUpdateMs: number
  /** DER of the nonce extension's value, as it was asked. */
  nonce: Uint8Array | undefined
}

export interface OcspSigner {
  key: Signer
  /** The responder's certificate, DER; sent along, for who asks has never seen it. */
  certificate: Uint8Array
  /** SHA-1 of its public key, RFC 6960 §4.2.2.3. */
  keyHash: Uint8Array
}

const BASIC = objectIdentifier('1.3.6.1.5.5.7.48.1.1')
const NONCE = objectIdentifier('1.3.6.1.5.5.7.48.1.2')
const NOTHING = new Uint8Array(0)

export function encodeOcspError(error: OcspError): Buffer {
  return sequence(enumerated(OCSP_ERRORS[error]))
}

/** A signed OCSPResponse, DER. RFC 6960 §4.2.1 */
export async function encodeOcspAnswer(answer: OcspAnswer, signer: OcspSigner): Promise<Buffer> {
  const { thisUpdateMs, nextUpdateMs, nonce } = answer
  const responses = answer.answers.map(({ certId, status }) =>
    sequence(certId, encodeStatus(status), generalizedTime(thisUpdateMs), explicit(0, generalizedTime(nextUpdateMs))),
  )
  const toBeSigned = sequence(
    explicit(2, octetString(signer.keyHash)), // responderID byKey
    generalizedTime(thisUpdateMs), // producedAt
    sequence(...responses),
    ...(nonce === undefined ? [] : [explicit(1, sequence(sequence(NONCE, octetString(nonce))))]), // §4.4.1
  )
  const basic = sequence(
    toBeSigned,
    signer.key.signatureAlgorithm,
    bitString(await signer.key.sign(toBeSigned)),
    explicit(0, sequence(signer.certificate)),
  )
  return sequence(enumerated(0), explicit(0, sequence(BASIC, octetString(basic))))
}

function encodeStatus(status: CertificateStatus): Buffer {
  if (status.status === 'good') return implicitPrimitive(0, NOTHING)
  if (status.status === 'unknown') return implicitPrimitive(2, NOTHING)
  // RFC 5280 §5.3.1: `unspecified` is said by leaving the reason out.
  const reason = status.reason === 'unspecified' ? [] : [explicit(0, enumerated(CRL_REASONS[status.reason]))]
  return implicitConstructed(1, generalizedTime(status.revokedAtMs), ...reason)
}
