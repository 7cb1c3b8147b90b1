import type { TLSSocket } from 'node:tls'
import type { Credential, Trust } from '../../contracts/credential.ts'
import type { ClientIssuers } from '../../kernel/client-issuers.ts'

/** What a TLS client showed. `refused`: it showed a certificate that does not count, and why. */
export type ClientCertificate =
  | { status: 'absent' }
  | { status: 'verified'; credential: Exclude<Credential, { kind: 'claim' }>; certificateDer: Buffer; notAfterMs: number }
  | { status: 'refused'; reason: string }

/**
 * Reads the client certificate of a connection whose handshake asked for one without requiring it. TLS has checked chain, purpose and
 * time at the handshake; a connection may outlive its certificate, so the caller compares `notAfterMs` with the clock.
 */
export function readClientCertificate(socket: TLSSocket, trust: Trust, issuers: ClientIssuers): ClientCertificate {
  const certificate = socket.getPeerCertificate()
  // Node answers an empty object when there is none.
  if (certificate === null || Object.keys(certificate).length === 0) return { status: 'absent' }
  if (!socket.authorized) return { status: 'refused', reason: `the client certificate is not valid: ${String(socket.authorizationError)}` }
  const reading = trust.read(certificate)
  if (reading.status === 'refused') {
    return { status: 'refused', reason: reading.reason === 'identity' ? 'the client certificate names no device' : reading.detail }
  }
  const { credential } = reading
  if (credential.kind !== 'factory' && !issuers.accepts(socket))
    return { status: 'refused', reason: 'the client certificate was signed by a CA that is not accepted, or not any more' }
  if (credential.kind === 'claim') return { status: 'refused', reason: 'a claim certificate is for the provisioning topics of MQTT only' }
  return { status: 'verified', credential, certificateDer: certificate.raw, notAfterMs: Date.parse(certificate.valid_to) }
}
