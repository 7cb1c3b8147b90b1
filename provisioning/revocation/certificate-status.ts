import type { CrlReason } from '../../contracts/certificate.ts'

/** What is known of a certificate. RFC 6960 §2.2 */
export type CertificateStatus = { status: 'good' } | { status: 'unknown' } | { status: 'revoked'; revokedAtMs: number; reason: CrlReason }

/** Where it is known what was issued and revoked. */
export interface StatusSource {
  /** `issuer`: key id of the CA; `serial` in upper-case hex. */
  statusOf(issuer: string, serial: string): Promise<CertificateStatus>
}
