import { createHash, type X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { claimUri } from '../../contracts/credential.ts'
import { deviceUri } from '../../contracts/device-identity.ts'
import { NULL } from './der.ts'
import { distributionPoint, FRESHEST_CRL_OID } from './distribution-point.ts'
import { x509 } from './x509.ts'

const CRITICAL = true
const { KeyUsageFlags, ExtendedKeyUsage } = x509

/**
 * SubjectKeyIdentifier: a hash of the SubjectPublicKeyInfo (RFC 7093 §2 (4)), cut to 160 bits. RFC 5280 §4.2.1.2 offers SHA-1 as one method
 * of several; hardened systems no longer compute it.
 */
export function keyIdentifier(subjectPublicKeyInfo: Uint8Array): string {
  return createHash('sha256').update(subjectPublicKeyInfo).digest('hex').slice(0, 40)
}

/** Subject key identifier of a CA certificate as it says itself, which is what those below it must repeat (RFC 5280 §4.2.1.1); hex. */
export function keyIdentifierOf(certificate: X509Certificate): string {
  const said = new x509.X509Certificate(certificate.raw).getExtension(x509.SubjectKeyIdentifierExtension)?.keyId
  return said?.toLowerCase() ?? keyIdentifier(certificate.publicKey.export({ format: 'der', type: 'spki' }))
}

/** Key identifier of the CA that signed a certificate, lower-case hex; undefined when it does not say. RFC 5280 §4.2.1.1 */
export function issuerKeyIdOf(certificate: string | Uint8Array): string | undefined {
  return new x509.X509Certificate(certificate).getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId?.toLowerCase()
}

/** RFC 5280 §4.2.1.9 basicConstraints critical in CAs, §4.2.1.3 keyUsage critical, §4.2.1.2 SKI, §4.2.1.1 AKI (a root may omit it). */
export function rootExtensions(subjectKeyId: string): InstanceType<typeof x509.Extension>[] {
  return [
    new x509.BasicConstraintsExtension(true, undefined, CRITICAL),
    new x509.KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, CRITICAL),
    new x509.SubjectKeyIdentifierExtension(subjectKeyId),
  ]
}

/** Path length 0: it signs leaves and no further CA. RFC 5280 §4.2.1.9. `rootCrlUrl` where it is known, §4.2.1.13. */
export function issuingExtensions(subjectKeyId: string, rootKeyId: string, rootCrlUrl?: string): InstanceType<typeof x509.Extension>[] {
  return [
    ...(rootCrlUrl === undefined ? [] : [new x509.CRLDistributionPointsExtension([rootCrlUrl])]),
    new x509.BasicConstraintsExtension(true, 0, CRITICAL),
    new x509.KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, CRITICAL),
    new x509.SubjectKeyIdentifierExtension(subjectKeyId),
    new x509.AuthorityKeyIdentifierExtension(rootKeyId),
  ]
}

export interface LeafExtensions {
  subjectKeyId: string
  issuerKeyId: string
  /** Of the CA that signs it: part of the addresses of its CRLs. */
  issuerId: string
  /** Origin of the plain HTTP listener, as verifiers reach it. */
  pkiUrl: string
}

/** For one device: TLS client only, and the name by which everything knows it. RFC 5280 §4.2.1.6, §4.2.1.12 */
export function deviceExtensions(leaf: LeafExtensions, tenant: string, device: string): InstanceType<typeof x509.Extension>[] {
  const names = new x509.SubjectAlternativeNameExtension([{ type: 'url', value: deviceUri(tenant, device) }])
  return [...leafExtensions(leaf, ExtendedKeyUsage.clientAuth), names]
}

/** For a production batch: TLS client only, under a name that no reader of devices' names takes for one. */
export function claimExtensions(leaf: LeafExtensions, tenant: string, claim: string): InstanceType<typeof x509.Extension>[] {
  const names = new x509.SubjectAlternativeNameExtension([{ type: 'url', value: claimUri(tenant, claim) }])
  return [...leafExtensions(leaf, ExtendedKeyUsage.clientAuth), names]
}

/** For our own listeners: TLS server only, host names and addresses. */
export function serverExtensions(leaf: LeafExtensions, names: readonly string[]): InstanceType<typeof x509.Extension>[] {
  const general = names.map((name) => ({ type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const), value: name }))
  return [...leafExtensions(leaf, ExtendedKeyUsage.serverAuth), new x509.SubjectAlternativeNameExtension(general)]
}

/**
 * Of an OCSP responder that answers for the CA that signed it: RFC 6960 §4.2.2.2. Nobody asks whether it is revoked (§4.2.2.2.1), so it
 * lives for a short time and says where nothing is.
 */
export function responderExtensions(subjectKeyId: string, issuerKeyId: string): InstanceType<typeof x509.Extension>[] {
  return [
    new x509.BasicConstraintsExtension(false, undefined, CRITICAL),
    new x509.KeyUsagesExtension(KeyUsageFlags.digitalSignature, CRITICAL),
    new x509.ExtendedKeyUsageExtension([ExtendedKeyUsage.ocspSigning]),
    new x509.Extension(OCSP_NO_CHECK, false, NULL),
    new x509.SubjectKeyIdentifierExtension(subjectKeyId),
    new x509.AuthorityKeyIdentifierExtension(issuerKeyId),
  ]
}

const OCSP_NO_CHECK = '1.3.6.1.5.5.7.48.1.5'

/**
 * RFC 5280 §4.2.1.13: the CRL address is plain HTTP, because fetching it over TLS would need a certificate checked first. §4.2.2.1: the issuer's
 * address, for verifiers that were given the leaf alone, and that of the OCSP responder. §4.2.1.15: where the newest delta CRL is.
 */
function leafExtensions(leaf: LeafExtensions, purpose: string): InstanceType<typeof x509.Extension>[] {
  return [
    new x509.BasicConstraintsExtension(false, undefined, CRITICAL),
    // Every cipher suite we allow signs; none wraps keys, so keyEncipherment is not granted to RSA keys either.
    new x509.KeyUsagesExtension(KeyUsageFlags.digitalSignature, CRITICAL),
    new x509.ExtendedKeyUsageExtension([purpose]),
    new x509.SubjectKeyIdentifierExtension(leaf.subjectKeyId),
    new x509.AuthorityKeyIdentifierExtension(leaf.issuerKeyId),
    new x509.CRLDistributionPointsExtension([`${leaf.pkiUrl}${crlPath(leaf.issuerId)}`]),
    new x509.Extension(FRESHEST_CRL_OID, false, distributionPoint(`${leaf.pkiUrl}${deltaCrlPath(leaf.issuerId)}`)),
    new x509.AuthorityInfoAccessExtension({ caIssuers: `${leaf.pkiUrl}${issuerPath(leaf.issuerId)}`, ocsp: `${leaf.pkiUrl}${OCSP_PATH}` }),
  ]
}

/** Paths on the plain HTTP listener; they are inside every certificate issued, so they stay. */
export function crlPath(issuerId: string): string {
  return `/crl/${issuerId}.crl`
}
export function deltaCrlPath(issuerId: string): string {
  return `/crl/${issuerId}.delta.crl`
}
export function issuerPath(issuerId: string): string {
  return `/ca/${issuerId}.crt`
}
export const OCSP_PATH = '/ocsp'
