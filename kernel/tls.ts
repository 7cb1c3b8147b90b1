import type { Server } from 'node:tls'

/**
 * TLS settings of every listener: Mozilla's "intermediate" profile, version 5.7. Node's defaults fail it (CBC, CCM and ARIA suites,
 * curves X448 and secp521r1).
 */
export const TLS_INTERMEDIATE = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ].join(':'),
  ecdhCurve: 'X25519:prime256v1:secp384r1',
  honorCipherOrder: false,
} as const

/** What a listener presents and trusts; PEM texts. */
export interface TlsMaterial {
  keyPem: string
  /** Leaf and issuing CA. */
  certChainPem: string
  /** Trust anchors and issuing CAs for client certificates (devices may send a leaf without its issuer). */
  caPem: string
  /**
   * Where the trust anchors lead to more than may come in (a root that signs for others too, a CA that was retired): the CAs one of which
   * must have signed the client's certificate itself. Absent: the trust anchors alone decide.
   */
  clientIssuersPem?: string
  /** The OCSP answer about the leaf, for clients that ask for it. */
  staple?: Staple
}

/** An OCSP answer about a certificate, for its holder to hand out. */
export interface Staple {
  derBase64: string
  /** Epoch ms; past it nobody accepts it. */
  nextUpdateMs: number
}

/**
 * Makes a TLS server answer clients that ask for the status of its certificate (status_request, RFC 6066 §8): with the staple of the
 * material given last, or with none. Call it before the server takes connections.
 */
export function stapling(server: Server, material: TlsMaterial): (next: TlsMaterial) => void {
  let der = derOf(material)
  server.on('OCSPRequest', (_certificate: Buffer, _issuer: Buffer, done: (error: Error | null, staple: Buffer | null) => void) =>
    done(null, der),
  )
  return (next) => {
    der = derOf(next)
  }
}

function derOf({ staple }: TlsMaterial): Buffer | null {
  return staple === undefined ? null : Buffer.from(staple.derBase64, 'base64')
}
