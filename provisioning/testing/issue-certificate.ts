import type { CertificateAuthority, DeviceCertificateRequest } from '../ca/authority.ts'
import type { Certificates, StoredCertificate } from '../certificates.ts'

/**
 * Signs a device certificate and records it, with the serial of the one that it renews and what let the device in; resolves when the record
 * is durable. Who may have one is decided before.
 */
export async function issueCertificate(
  by: { authority: CertificateAuthority; certificates: Certificates },
  request: DeviceCertificateRequest,
  door: string,
  more: { replaces?: string; via?: string } = {},
): Promise<StoredCertificate> {
  return by.certificates.record(await by.authority.signDevice(request), request, door, more)
}
