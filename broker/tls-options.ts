import { constants } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { TLS_INTERMEDIATE, type TlsMaterial } from '../kernel/tls.ts'
import type { RefusalReason } from './refusals.ts'

/** What a listener presents and trusts; also what `setSecureContext` takes when the material changes. */
export function secureContextOptions(material: TlsMaterial): object {
  return {
    ...TLS_INTERMEDIATE,
    key: material.keyPem,
    cert: material.certChainPem,
    ca: material.caPem,
    // No resumption: a resumed session skips the certificate checks, so it would outlive an expiry or a change of trust. With tickets off
    // and no session store every connection shows its certificate (a test holds it).
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  }
}

/** Options of both device listeners: client certificates are required. */
export function deviceTlsOptions(material: TlsMaterial, handshakeTimeoutMs: number): object {
  return { ...secureContextOptions(material), requestCert: true, rejectUnauthorized: true, handshakeTimeout: handshakeTimeoutMs }
}

const UNKNOWN_CA = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
])

/** Why a handshake failed, from what Node leaves behind. */
export function handshakeRefusal(error: Error, socket: TLSSocket): { reason: RefusalReason; detail: string } {
  // Typed as Error, in fact the code of the verification error.
  const verification = (socket.authorizationError as unknown as string | null | undefined) ?? undefined
  if (verification !== undefined) {
    if (UNKNOWN_CA.has(verification)) return { reason: 'unknown-ca', detail: verification }
    return { reason: verification === 'CERT_HAS_EXPIRED' ? 'certificate-expired' : 'certificate-invalid', detail: verification }
  }
  const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
  return { reason: code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE' ? 'no-certificate' : 'tls-handshake', detail: code }
}
