import { createHash, X509Certificate } from 'node:crypto'
import { AsnConvert } from '@peculiar/asn1-schema'
import { Certificate } from '@peculiar/asn1-x509'
import type { CertificateRecord } from '../../contracts/certificate.ts'
import { identityOfUri } from '../../contracts/device-identity.ts'

/** What the checks look at; times in epoch ms. */
export interface CertificateFacts {
  serial: string
  tenant: string
  device: string
  /** Valid, and not expired yet. */
  isLive: boolean
  issuedAt: number
  notAfter: number
  /** SHA-256 of the public key (SubjectPublicKeyInfo), hex. */
  keyId: string
  /** Why the key is weak; undefined when it is not. */
  weakKey?: string
  weakSignature?: string
  /** What it may be used for besides being this device. */
  permissions: string[]
}

/** RFC 5280 §4.2.1.12 */
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const CURVES = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
/** Signatures over MD5 or SHA-1 (RFC 3279 §2.2): collisions are made for both. */
const WEAK_SIGNATURES: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'RSA with MD5',
  '1.2.840.113549.1.1.5': 'RSA with SHA-1',
  '1.2.840.10045.4.1': 'ECDSA with SHA-1',
}
const EXPONENT_MIN = 65_537n

export function factsOf(record: CertificateRecord, nowMs: number, rsaBitsMin: number): CertificateFacts {
  const { serial, tenant, device, state, issuedAt, notAfter, pem } = record
  const certificate = new X509Certificate(pem)
  const weakKey = weaknessOfKey(certificate, rsaBitsMin)
  const weakSignature = WEAK_SIGNATURES[AsnConvert.parse(certificate.raw, Certificate).signatureAlgorithm.algorithm]
  return {
    ...{ serial, tenant, device, issuedAt, notAfter },
    isLive: state === 'valid' && notAfter >= nowMs,
    keyId: createHash('sha256')
      .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
      .digest('hex'),
    ...(weakKey === undefined ? {} : { weakKey }),
    ...(weakSignature === undefined ? {} : { weakSignature }),
    permissions: permissionsOf(certificate),
  }
}

/** NIST SP 800-57 part 1, table 2: 112 bits of strength at least. */
function weaknessOfKey({ publicKey }: X509Certificate, rsaBitsMin: number): string | undefined {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = publicKey.asymmetricKeyDetails ?? {}
  switch (publicKey.asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      if (modulusLength < rsaBitsMin) return `an RSA key of ${modulusLength} bits, less than ${rsaBitsMin}`
      return publicExponent < EXPONENT_MIN ? `an RSA key with exponent ${publicExponent}` : undefined
    case 'ec':
      return CURVES.has(namedCurve) ? undefined : `a key on the curve ${namedCurve}`
    case 'ed25519':
    case 'ed448':
      return undefined
    default:
      return `a key of type ${publicKey.asymmetricKeyType ?? 'unknown'}`
  }
}

function permissionsOf(certificate: X509Certificate): string[] {
  // Node's types do not say so: a certificate without the extension has none, and is then good for any purpose.
  const usages = certificate.keyUsage as readonly string[] | undefined
  const names = (certificate.subjectAltName ?? '').split(', ')
  const identities = names.filter((name) => name.startsWith('URI:') && identityOfUri(name.slice('URI:'.length)) !== undefined)
  const wildcards = names.filter((name) => name.includes('*'))
  return [
    ...(certificate.ca ? ['it is a CA: it can sign certificates'] : []),
    ...(usages === undefined ? ['it is good for any purpose (no extended key usage)'] : []),
    ...(usages?.some((usage) => usage !== CLIENT_AUTH) === true
      ? [`it is good for more than client authentication: ${usages.join(', ')}`]
      : []),
    ...(identities.length > 1 ? [`it names ${identities.length} devices`] : []),
    ...(wildcards.length > 0 ? [`it holds a wildcard: ${wildcards.join(', ')}`] : []),
  ]
}
