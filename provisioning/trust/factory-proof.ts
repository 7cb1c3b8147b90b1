import { createHash, X509Certificate } from 'node:crypto'
import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import { weaknessOf } from '../ca/profile.ts'
import { DEVICE_KEY_TYPES } from '../config.ts'
import type { KeyBounds } from '../doors/key-strength.ts'
import { certificatesOf, isIssuedBy } from './trust-view.ts'

/** PEM texts of one request: a CA, its issuers and a proof; more is no CA's chain. */
const CERTIFICATES_MAX = 8

export interface ReadAuthority {
  certificate: X509Certificate
  certificatePem: string
  chainPem: string
  /** SHA-256 of the public key, hex. */
  fingerprint: string
}

/**
 * Reads a factory CA: exactly one certificate, a CA that may sign (RFC 5280 §4.2.1.9, §4.2.1.3), strong, in force, self-signed or with its
 * issuers up to a self-signed one in `chainPem`. Throws InvalidInputError that names the field and the rule.
 */
export function readFactoryAuthority(input: { certificatePem: string; chainPem: string }, nowMs: number, bounds: KeyBounds): ReadAuthority {
  const [certificate, ...more] = readAll(input.certificatePem, 'certificate')
  if (certificate === undefined || more.length > 0) throw invalid('certificate', 'must be exactly one PEM certificate')
  checkAuthority(certificate, 'certificate', nowMs, bounds)
  let top = certificate
  const chain = readAll(input.chainPem, 'chain')
  for (const issuer of chain) {
    checkAuthority(issuer, 'chain', nowMs, bounds)
    if (!isIssuedBy(top, issuer)) throw invalid('chain', 'must hold the issuers in order: each one signed the certificate before it')
    top = issuer
  }
  // A verifier needs a trust anchor that ends the chain. RFC 5280 §6.1
  if (!isIssuedBy(top, top)) throw invalid('chain', 'must lead up to a self-signed CA, since the certificate is not self-signed itself')
  return {
    certificate,
    certificatePem: certificate.toString(),
    chainPem: chain.map((issuer) => issuer.toString()).join(''),
    fingerprint: createHash('sha256')
      .update(certificate.publicKey.export({ format: 'der', type: 'spki' }))
      .digest('hex'),
  }
}

/** Does this certificate, signed by the CA, carry the code? Throws InvalidInputError when it proves nothing. */
export function checkPossession(proofPem: string, authority: X509Certificate, code: string, nowMs: number): void {
  const [proof, ...more] = readAll(proofPem, 'proof')
  if (proof === undefined || more.length > 0) throw invalid('proof', 'must be exactly one PEM certificate')
  const names = proof.toLegacyObject().subject as { CN?: unknown } | undefined
  if (names?.CN !== code) throw invalid('proof', 'must have the registration code, and nothing else, as its common name')
  if (!isInForce(proof, nowMs)) throw invalid('proof', 'is not in force now')
  if (!isIssuedBy(proof, authority)) throw invalid('proof', 'was not signed by the CA that is to be registered')
}

function readAll(pem: string, field: string): X509Certificate[] {
  let certificates: X509Certificate[]
  try {
    certificates = certificatesOf(pem)
  } catch (error) {
    throw invalid(field, `holds something that is no certificate: ${describeError(error)}`)
  }
  if (certificates.length > CERTIFICATES_MAX) throw invalid(field, `holds more than ${CERTIFICATES_MAX} certificates`)
  return certificates
}

function checkAuthority(certificate: X509Certificate, field: string, nowMs: number, bounds: KeyBounds): void {
  if (!certificate.ca) throw invalid(field, 'is not a CA (basicConstraints)')
  if (!isInForce(certificate, nowMs)) throw invalid(field, `is in force from ${certificate.validFrom} to ${certificate.validTo}, not now`)
  const weakness = weaknessOf(certificate.publicKey, { ...bounds, keyTypes: DEVICE_KEY_TYPES })
  if (weakness !== undefined) throw invalid(field, weakness)
}

function isInForce(certificate: X509Certificate, nowMs: number): boolean {
  return Date.parse(certificate.validFrom) <= nowMs && nowMs <= Date.parse(certificate.validTo)
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(`${field}: ${problem}`, { details: { field } })
}
