import type { CertificateRecord } from '../../contracts/certificate.ts'
import type { CertificateNotice } from '../../contracts/renewal.ts'
import type { CertificateAuthority } from '../ca/authority.ts'

/** A certificate as its device is given it: with the CA that signed it, which need not be the one that signs now, and with what to trust. */
export function issuedNotice(
  authority: Pick<CertificateAuthority, 'chainPemOf' | 'caPem'>,
  { serial, notAfter, pem, issuer }: Pick<CertificateRecord, 'serial' | 'notAfter' | 'pem' | 'issuer'>,
): Extract<CertificateNotice, { status: 'issued' }> {
  return { status: 'issued', serial, notAfter, certificate: pem + authority.chainPemOf(issuer), ca: authority.caPem }
}
