import type { TLSSocket } from 'node:tls'
import { normaliseSerial } from '../../contracts/certificate.ts'
import { identityOfCertificate } from '../../contracts/device-identity.ts'
import type { ClientIssuers } from '../../kernel/client-issuers.ts'
import type { CertificateCredential } from '../doors/enrolment.ts'

/** What a TLS client showed. `refused`: it showed a certificate that does not count, and why. */
export type ClientCertificate =
  | { status: 'absent' }
  | { status: 'verified'; credential: CertificateCredential; notAfterMs: number }
  | { status: 'refused'; reason: string }

/**
 * Reads the client certificate of a connection whose handshake asked for one without requiring it. TLS has checked chain, purpose and
 * time at the handshake; a connection may outlive its certificate, so the caller compares `notAfterMs` with the clock.
 */
export function readClientCertificate(socket: TLSSocket, issuers: ClientIssuers): ClientCertificate {
  const certificate = socket.getPeerCertificate()
  // Node answers an empty object when there is none.
  if (certificate === null || Object.keys(certificate).length === 0) return { status: 'absent' }
  if (!socket.authorized) return { status: 'refused', reason: `the client certificate is not valid: ${String(socket.authorizationError)}` }
  if (!issuers.accepts(socket))
    return { status: 'refused', reason: 'the client certificate was signed by a CA that is not accepted, or not any more' }
  const identity = identityOfCertificate(certificate.subject.CN, certificate.subjectaltname)
  const serial = normaliseSerial(certificate.serialNumber)
  if (identity === undefined || serial === undefined) return { status: 'refused', reason: 'the client certificate names no device' }
  return { status: 'verified', credential: { ...identity, serial }, notAfterMs: Date.parse(certificate.valid_to) }
}
