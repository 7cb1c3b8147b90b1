import { DerReader, explicitTag, readExtensions, readObjectIdentifier, readSequence, readSerial, TAG } from './der-reader.ts'

/** Which certificate is asked about. RFC 6960 §4.1.1 */
export interface CertId {
  /** DER, as it was asked: the answer repeats it. */
  raw: Buffer
  /** OID of the hash. */
  hashAlgorithm: string
  issuerNameHash: Buffer
  issuerKeyHash: Buffer
  /** Upper-case hex. */
  serial: string
}

export interface OcspRequest {
  certIds: CertId[]
  /** The nonce extension's value, DER; the answer repeats it. */
  nonce: Buffer | undefined
}

/** Certificates that one request may ask about: a TLS handshake asks for one, a chain check for a few. */
const CERT_IDS_MAX = 20

/** RFC 8954 §2.1: shorter cannot be, longer must be refused. */
const NONCE_BYTES_MAX = 32

const NONCE = '1.3.6.1.5.5.7.48.1.2'

/**
 * Reads an OCSPRequest, RFC 6960 §4.1.1. A signature on it is passed over: whoever asks may. Throws RangeError for what is malformed, too
 * much, or has a critical extension that is not known here (§4.4: none is by itself).
 */
export function readOcspRequest(der: Uint8Array): OcspRequest {
  const outer = readSequence(der)
  const toBeSigned = outer.inside(TAG.sequence)
  outer.optional(explicitTag(0))
  outer.end()
  const version = toBeSigned.optional(explicitTag(0))
  if (version !== undefined && readSerial(new DerReader(version.content).expect(TAG.integer)) !== '00')
    throw new RangeError('a version that is not 1')
  toBeSigned.optional(explicitTag(1))
  const certIds = readCertIds(toBeSigned.inside(TAG.sequence))
  const extensions = toBeSigned.isAtEnd ? [] : readExtensions(toBeSigned.inside(explicitTag(2)).inside(TAG.sequence))
  toBeSigned.end()
  let nonce: Buffer | undefined
  for (const { oid, isCritical, value } of extensions) {
    if (oid === NONCE) nonce = checkedNonce(value)
    else if (isCritical) throw new RangeError(`a critical extension that is not known here, ${oid}`)
  }
  return { certIds, nonce }
}

function readCertIds(list: DerReader): CertId[] {
  const certIds: CertId[] = []
  while (!list.isAtEnd) {
    if (certIds.length === CERT_IDS_MAX) throw new RangeError('a question about too many certificates')
    const request = list.inside(TAG.sequence)
    certIds.push(readCertId(request.expect(TAG.sequence).raw))
    const extensions = request.isAtEnd ? [] : readExtensions(request.inside(explicitTag(0)).inside(TAG.sequence))
    if (extensions.some(({ isCritical }) => isCritical)) throw new RangeError('a critical extension of one request that is not known here')
    request.end()
  }
  if (certIds.length === 0) throw new RangeError('a question about no certificate')
  return certIds
}

function readCertId(raw: Buffer): CertId {
  const fields = readSequence(raw)
  const hashAlgorithm = readObjectIdentifier(fields.inside(TAG.sequence).expect(TAG.objectIdentifier))
  const { content: issuerNameHash } = fields.expect(TAG.octetString)
  const { content: issuerKeyHash } = fields.expect(TAG.octetString)
  const serial = readSerial(fields.expect(TAG.integer))
  fields.end()
  return { raw, hashAlgorithm, issuerNameHash, issuerKeyHash, serial }
}

function checkedNonce(value: Buffer): Buffer {
  const octets = new DerReader(value)
  const { content } = octets.expect(TAG.octetString)
  octets.end()
  if (content.length < 1 || content.length > NONCE_BYTES_MAX) throw new RangeError(`a nonce that has not 1 to ${NONCE_BYTES_MAX} bytes`)
  return value
}
