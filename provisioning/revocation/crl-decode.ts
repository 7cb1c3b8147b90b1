import { CRL_REASONS, type CrlReason } from '../../contracts/certificate.ts'
import {
  DerReader,
  explicitTag,
  readBits,
  readExtensions,
  readObjectIdentifier,
  readSequence,
  readSerial,
  readTime,
  TAG,
  type DerExtension,
} from './der-reader.ts'

/** A CRL as somebody handed it to us; nothing of it is believed before its signature was checked. */
export interface DecodedCrl {
  /** DER Name. */
  issuer: Buffer
  /** Of the signing key, lower-case hex; undefined when it does not say. RFC 5280 §5.2.1 */
  authorityKeyId: string | undefined
  /** Decimal; undefined when it has none. §5.2.3 */
  number: string | undefined
  /** It holds changes only. §5.2.4 */
  isDelta: boolean
  thisUpdateMs: number
  nextUpdateMs: number | undefined
  entries: DecodedEntry[]
  toBeSigned: Buffer
  signatureAlgorithm: string
  signature: Buffer
}

export interface DecodedEntry {
  /** Upper-case hex, as openssl prints it. */
  serial: string
  revokedAtMs: number
  /** `removeFromCRL`, in delta CRLs, ends a hold. */
  reason: CrlReason | 'removeFromCRL'
}

const OID = {
  authorityKeyIdentifier: '2.5.29.35',
  crlNumber: '2.5.29.20',
  deltaCrlIndicator: '2.5.29.27',
  issuingDistributionPoint: '2.5.29.28',
  reasonCode: '2.5.29.21',
} as const

const REASON_NAMES = new Map<number, DecodedEntry['reason']>([
  ...Object.entries(CRL_REASONS).map(([name, code]) => [code, name as CrlReason] as const),
  [8, 'removeFromCRL'],
])

/**
 * Decodes a CRL, RFC 5280 §5.1. Throws RangeError for what is none, and for what we must not act on: a critical extension that we do not
 * know (§5.2), and lists that speak for other issuers (§5.2.5, indirectCRL).
 */
export function decodeCrl(der: Uint8Array): DecodedCrl {
  const outer = readSequence(der)
  const toBeSigned = outer.expect(TAG.sequence)
  const algorithm = outer.expect(TAG.sequence)
  const signature = readBits(outer.expect(TAG.bitString))
  outer.end()
  const list = new DerReader(toBeSigned.content)
  const version = list.optional(TAG.integer)
  if (version !== undefined && !version.content.equals(Buffer.of(1))) throw new RangeError('a version that is not 2')
  // §5.1.1.2: the same inside and outside the signature.
  if (!list.expect(TAG.sequence).raw.equals(algorithm.raw)) throw new RangeError('two different signature algorithms')
  const issuer = list.expect(TAG.sequence).raw
  const thisUpdateMs = readTime(list.element())
  const nextUpdateMs = list.nextTag === TAG.utcTime || list.nextTag === TAG.generalizedTime ? readTime(list.element()) : undefined
  const entries = list.nextTag === TAG.sequence ? readEntries(list.inside(TAG.sequence)) : []
  const extensions = list.nextTag === explicitTag(0) ? readExtensions(list.inside(explicitTag(0)).inside(TAG.sequence)) : []
  list.end()
  return {
    issuer,
    thisUpdateMs,
    nextUpdateMs,
    entries,
    ...readListExtensions(extensions),
    toBeSigned: toBeSigned.raw,
    signatureAlgorithm: readObjectIdentifier(new DerReader(algorithm.content).expect(TAG.objectIdentifier)),
    signature,
  }
}

function readListExtensions(extensions: readonly DerExtension[]): Pick<DecodedCrl, 'authorityKeyId' | 'number' | 'isDelta'> {
  const read: Pick<DecodedCrl, 'authorityKeyId' | 'number' | 'isDelta'> = { authorityKeyId: undefined, number: undefined, isDelta: false }
  for (const { oid, isCritical, value } of extensions) {
    if (oid === OID.authorityKeyIdentifier) {
      read.authorityKeyId = readSequence(value).optional(0x80)?.content.toString('hex')
    } else if (oid === OID.crlNumber) {
      read.number = BigInt(`0x${readSerial(new DerReader(value).expect(TAG.integer))}`).toString()
    } else if (oid === OID.deltaCrlIndicator) read.isDelta = true
    else if (oid === OID.issuingDistributionPoint) refuseIndirect(readSequence(value))
    else if (isCritical) throw new RangeError(`a critical extension that is not known here, ${oid}`)
  }
  return read
}

/** Its scope may be a part of the issuer's certificates, but not the certificates of others. */
function refuseIndirect(point: DerReader): void {
  while (!point.isAtEnd) if (point.element().tag === 0x84) throw new RangeError('an indirect CRL, which speaks for other issuers')
}

function readEntries(list: DerReader): DecodedEntry[] {
  const entries: DecodedEntry[] = []
  while (!list.isAtEnd) {
    const entry = list.inside(TAG.sequence)
    const serial = readSerial(entry.expect(TAG.integer))
    const revokedAtMs = readTime(entry.element())
    const extensions = entry.isAtEnd ? [] : readExtensions(entry.inside(TAG.sequence))
    entry.end()
    entries.push({ serial, revokedAtMs, reason: reasonOf(extensions) })
  }
  return entries
}

function reasonOf(extensions: readonly DerExtension[]): DecodedEntry['reason'] {
  let reason: DecodedEntry['reason'] = 'unspecified'
  for (const { oid, isCritical, value } of extensions) {
    if (oid === OID.reasonCode) {
      const named = REASON_NAMES.get(new DerReader(value).expect(TAG.enumerated).content[0] ?? 0)
      if (named === undefined) throw new RangeError('a reason that RFC 5280 §5.3.1 does not have')
      reason = named
    } else if (isCritical) throw new RangeError(`an entry with a critical extension that is not known here, ${oid}`)
  }
  return reason
}
