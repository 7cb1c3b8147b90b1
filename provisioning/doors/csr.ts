import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { identityOfUri, type DeviceIdentity } from '../../contracts/device-identity.ts'
import { describeError } from '../../kernel/errors.ts'
import { sequenceAt } from '../ca/der.ts'
import { weaknessOf } from '../ca/profile.ts'
import { x509 } from '../ca/x509.ts'
import { keyTypeOf, type KeyBounds } from './key-strength.ts'

/** A request whose signature proves that the requester holds the key, and whose key is strong enough. */
export interface ProvenCsr {
  /** DER SubjectPublicKeyInfo. */
  publicKey: Buffer
  /** What kind of key it is, as the configuration names kinds (`P-256`, `RSA-2048`). */
  keyType: string
  /** Names the request asks for. They never decide who the certificate is for; a re-enrolment must not contradict them. */
  commonNames: readonly string[]
  /** `undefined` entries are names that are not a device's. */
  alternativeNames: readonly (DeviceIdentity | undefined)[]
}

export type CsrRefusal = 'malformed' | 'possession-not-proved' | 'key-not-allowed' | 'key-encryption'
export type CsrCheck = { status: 'proven'; csr: ProvenCsr } | { status: 'refused'; reason: CsrRefusal; detail: string }

const SIGNATURES = new Set(['ECDSA', 'RSASSA-PKCS1-v1_5'])
const HASHES = new Map([
  ['SHA-256', 'sha256'],
  ['SHA-384', 'sha384'],
  ['SHA-512', 'sha512'],
])
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17'

/**
 * Reads a PKCS#10 request (RFC 2986), DER. Answers, whatever the bytes: never throws. The caller bounds its size.
 * Proof of possession is the request's own signature, RFC 2986 §3.
 */
export function checkCsr(der: Uint8Array, limits: KeyBounds): CsrCheck {
  let request: InstanceType<typeof x509.Pkcs10CertificateRequest>
  let publicKey: Buffer
  let names: Pick<ProvenCsr, 'commonNames' | 'alternativeNames'>
  try {
    // The library also takes PEM and hex, and reads past what is not DER.
    if (sequenceAt(der, 0).end !== der.length) return refuse('malformed', 'the body holds more than one certification request')
    request = new x509.Pkcs10CertificateRequest(der)
    publicKey = Buffer.from(request.publicKey.rawData)
    names = namesOf(request)
  } catch (error) {
    return refuse('malformed', `the body is not a DER PKCS#10 certification request: ${describeError(error)}`)
  }
  let key: KeyObject
  try {
    key = createPublicKey({ key: publicKey, format: 'der', type: 'spki' })
  } catch (error) {
    return refuse('key-not-allowed', `the public key cannot be read: ${describeError(error)}`)
  }
  const weakness = weaknessOf(key, { ...limits, keyTypes: limits.deviceKeyTypes })
  if (weakness !== undefined) return refuse('key-not-allowed', weakness)
  const doubt = doubtOf(request, der, key)
  return doubt === undefined
    ? { status: 'proven', csr: { publicKey, keyType: keyTypeOf(key) ?? 'unknown', ...names } }
    : refuse('possession-not-proved', doubt)
}

/** What a request for a key of our making says: names only, since its key and signature are to be ignored. RFC 7030 §4.4.1 */
export type CsrNames = Pick<ProvenCsr, 'commonNames' | 'alternativeNames'>
export type CsrNamesCheck = { status: 'read'; names: CsrNames } | { status: 'refused'; reason: CsrRefusal; detail: string }

/** Attributes that ask for the key to be encrypted by another key than TLS's. RFC 7030 §4.4.1.1, §4.4.1.2 */
const KEY_ENCRYPTION_ATTRIBUTES = new Set(['1.2.840.113549.1.9.16.2.37', '1.2.840.113549.1.9.16.2.54'])

/** Reads the names of a request whose key and signature do not count. Never throws. */
export function readCsrNames(der: Uint8Array): CsrNamesCheck {
  try {
    if (sequenceAt(der, 0).end !== der.length) return refuse('malformed', 'the body holds more than one certification request')
    const request = new x509.Pkcs10CertificateRequest(der)
    if (request.attributes.some(({ type }) => KEY_ENCRYPTION_ATTRIBUTES.has(type))) {
      // RFC 7030 §4.4.1: what was asked for cannot be done, so nothing is sent.
      return refuse('key-encryption', 'the request wants the key encrypted for itself, which is not offered here; leave the attribute out')
    }
    return { status: 'read', names: namesOf(request) }
  } catch (error) {
    return refuse('malformed', `the body is not a DER PKCS#10 certification request: ${describeError(error)}`)
  }
}

/** Why the signature does not prove that the sender holds the key; undefined when it does. Checked over the bytes as they came. */
function doubtOf(request: InstanceType<typeof x509.Pkcs10CertificateRequest>, der: Uint8Array, key: KeyObject): string | undefined {
  try {
    const { name, hash } = request.signatureAlgorithm as { name?: string; hash?: { name?: string } }
    const digest = HASHES.get(hash?.name ?? '')
    if (!SIGNATURES.has(name ?? '') || digest === undefined) {
      return 'the request is signed with an algorithm that is not allowed; allowed: ECDSA or RSA (PKCS#1 v1.5) with SHA-256, SHA-384 or SHA-512'
    }
    const information = sequenceAt(der, sequenceAt(der, 0).contentStart)
    const signed = der.subarray(information.start, information.end)
    return verify(digest, signed, key, Buffer.from(request.signature)) ? undefined : "the request's signature does not match its public key"
  } catch (error) {
    return `the request's signature cannot be checked: ${describeError(error)}`
  }
}

/** Names the library cannot read (otherName, for instance) count as a name that is not a device's: they bind nobody. */
function namesOf(request: InstanceType<typeof x509.Pkcs10CertificateRequest>): Pick<ProvenCsr, 'commonNames' | 'alternativeNames'> {
  const commonNames = request.subjectName.getField('CN')
  try {
    const extension = request.extensions.find((candidate) => candidate.type === SUBJECT_ALTERNATIVE_NAME)
    if (extension === undefined) return { commonNames, alternativeNames: [] }
    const names = extension instanceof x509.SubjectAlternativeNameExtension ? extension.names.items : []
    const identities = names.map((name) => (name.type === 'url' ? identityOfUri(name.value) : undefined))
    return { commonNames, alternativeNames: identities.length === 0 ? [undefined] : identities }
  } catch {
    return { commonNames, alternativeNames: [undefined] }
  }
}

function refuse(reason: CsrRefusal, detail: string): { status: 'refused'; reason: CsrRefusal; detail: string } {
  return { status: 'refused', reason, detail }
}
