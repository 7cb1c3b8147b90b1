import type { X509Certificate } from 'node:crypto'
import type { SignedCertificate } from './sign-certificate.ts'

/** Who signs the certificates of our own listeners: the CA in this process, or the one in the registry's process. */
export interface ServerSigner {
  readonly issuing: X509Certificate
  /** PEM of the issuing CA, sent by listeners behind the leaf. */
  readonly issuingPem: string
  /** PEM of root and issuing CA: what to trust. */
  readonly caPem: string
  /** Where the server certificate and its key are kept. */
  readonly serverFile: { folder: string; name: string }
  /** `names` are host names and addresses, the first one becomes the CN. `publicKey` is DER SubjectPublicKeyInfo. */
  signServer(names: readonly [string, ...string[]], publicKey: Uint8Array): Promise<Pick<SignedCertificate, 'serial' | 'pem' | 'der'>>
}
