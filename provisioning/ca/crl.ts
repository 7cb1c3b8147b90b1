import { CRL_REASONS, type CrlReason } from '../../contracts/certificate.ts'
import { distributionPoint, FRESHEST_CRL_OID } from './distribution-point.ts'
import { bitString, enumerated, explicit, implicitPrimitive, integerFromHex, objectIdentifier, octetString, sequence, time } from './der.ts'
import type { Signer } from './keys/key-store.ts'

export interface CrlEntry {
  /** Hex. */
  serial: string
  revokedAtMs: number
  reason: CrlReason
}

export interface CrlContent {
  /** Grows with each CRL of the issuer. RFC 5280 §5.2.3 */
  number: number
  thisUpdateMs: number
  nextUpdateMs: number
  entries: readonly CrlEntry[]
  /** Makes it a delta CRL: `entries` are what changed since the full CRL of this number. RFC 5280 §5.2.4 */
  baseNumber?: number
  /** Where the delta CRLs to this full one are. §5.2.6 */
  freshestUrl?: string
}

export interface CrlIssuer {
  /** DER Name. */
  name: Uint8Array
  /** Subject key identifier, hex. */
  keyId: string
  key: Signer
}

const AUTHORITY_KEY_IDENTIFIER = objectIdentifier('2.5.29.35')
const CRL_NUMBER = objectIdentifier('2.5.29.20')
const DELTA_CRL_INDICATOR = objectIdentifier('2.5.29.27')
const FRESHEST_CRL = objectIdentifier(FRESHEST_CRL_OID)
const TRUE = Buffer.of(0x01, 0x01, 0xff)
const REASON_CODE = objectIdentifier('2.5.29.21')
const VERSION_2 = integerFromHex('01')

/** A CRL, full or delta, version 2, DER. RFC 5280 §5.1 */
export async function encodeCrl(content: CrlContent, issuer: CrlIssuer): Promise<Buffer> {
  // §5.1.2.6: with nothing revoked the list must be absent, not empty.
  const revoked = content.entries.length === 0 ? [] : [sequence(...content.entries.map(encodeEntry))]
  const authorityKey = sequence(implicitPrimitive(0, Buffer.from(issuer.keyId, 'hex')))
  const extensions = sequence(
    sequence(AUTHORITY_KEY_IDENTIFIER, octetString(authorityKey)), // §5.2.1
    sequence(CRL_NUMBER, octetString(number(content.number))), // §5.2.3
    ...(content.baseNumber === undefined ? [] : [sequence(DELTA_CRL_INDICATOR, TRUE, octetString(number(content.baseNumber)))]), // §5.2.4, critical
    ...(content.freshestUrl === undefined ? [] : [sequence(FRESHEST_CRL, octetString(distributionPoint(content.freshestUrl)))]), // §5.2.6
  )
  const { signatureAlgorithm } = issuer.key
  const toBeSigned = sequence(
    VERSION_2,
    signatureAlgorithm,
    issuer.name,
    time(content.thisUpdateMs),
    time(content.nextUpdateMs),
    ...revoked,
    explicit(0, extensions),
  )
  return sequence(toBeSigned, signatureAlgorithm, bitString(await issuer.key.sign(toBeSigned)))
}

function number(value: number): Buffer {
  return integerFromHex(value.toString(16))
}

function encodeEntry(entry: CrlEntry): Buffer {
  const serial = integerFromHex(entry.serial)
  // §5.3.1: `unspecified` is said by leaving the reason out.
  if (entry.reason === 'unspecified') return sequence(serial, time(entry.revokedAtMs))
  const reason = sequence(REASON_CODE, octetString(enumerated(CRL_REASONS[entry.reason])))
  return sequence(serial, time(entry.revokedAtMs), sequence(reason))
}
