import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { TlsMaterial } from './tls.ts'

/** Who may have signed client certificates, beyond what TLS has verified. */
export class ClientIssuers {
  readonly #issuers: readonly X509Certificate[] | undefined

  constructor({ clientIssuersPem }: Pick<TlsMaterial, 'clientIssuersPem'>) {
    const blocks = clientIssuersPem?.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)
    this.#issuers = clientIssuersPem === undefined ? undefined : (blocks ?? []).map((block) => new X509Certificate(block))
  }

  /**
   * Was the certificate that this connection showed, and TLS verified, signed by one of them? The signature itself is checked: names and key
   * identifiers can be repeated by anyone to whom the same root gave a CA.
   */
  accepts(socket: Pick<TLSSocket, 'getPeerX509Certificate'>): boolean {
    if (this.#issuers === undefined) return true
    const certificate = socket.getPeerX509Certificate()
    return (
      certificate !== undefined && this.#issuers.some((issuer) => certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))
    )
  }
}
