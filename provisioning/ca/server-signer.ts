import type { X509Certificate } from 'node:crypto'
import type { SignedCertificate } from './sign-certificate.ts'

/** Who signs the certificates of our own listeners: the CA in this process, or the one in the registry's process. */
export interface ServerSigner {
  /** Of the CA that signs server certificates now. */
  readonly serverIssuerKeyId: string
  /** Every issuing CA there is, by its key id: its certificate, and PEM of it and those between it and its root. */
  readonly knownIssuers: ReadonlyMap<string, { certificate: X509Certificate; chainPem: string }>
  /** PEM of roots and live issuing CAs: what to trust. */
  readonly caPem: string
  /** As in TlsMaterial. */
  readonly clientIssuersPem: string | undefined
  /** Where the server certificate and its key are kept. */
  readonly serverFile: { folder: string; name: string }
  /** `names` are host names and addresses, the first one becomes the CN. `publicKey` is DER SubjectPublicKeyInfo. */
  signServer(names: readonly [string, ...string[]], publicKey: Uint8Array): Promise<Pick<SignedCertificate, 'serial' | 'pem' | 'der'>>
  /** Calls back when any of this has changed; returns the way to stop listening. */
  onAuthorityChange(listener: () => void): () => void
}
