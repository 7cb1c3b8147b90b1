import type { KeyObject } from 'node:crypto'

/** Keys that our CAs may have. P-256 is verified by every TLS stack on small devices; the others are for those who must. */
export type KeyAlgorithm = 'ecdsa-p256' | 'ecdsa-p384' | 'rsa-2048' | 'rsa-3072' | 'rsa-4096'

/**
 * A private key that signs, wherever it lies: it may not be exportable, so that nothing but this is asked of it. Certificates, CRLs, OCSP
 * answers and requests are all signed through it.
 */
export interface Signer {
  readonly publicKey: KeyObject
  /** DER AlgorithmIdentifier of every signature it makes. RFC 5280 §4.1.1.2 */
  readonly signatureAlgorithm: Buffer
  /**
   * Signs the content (hashing it first) as X.509 wants it: a DER Ecdsa-Sig-Value (RFC 5758 §3.2) or PKCS#1 v1.5 (RFC 4055 §5).
   * Rejects with StoreError when the key's store does not answer.
   */
  sign(content: Uint8Array): Promise<Buffer>
}

/** Where CA keys are made and lie: files of the data folder, or a PKCS#11 token. */
export interface KeyStore {
  readonly kind: 'file' | 'pkcs11'
  /** Makes a key pair under a name of `[a-z0-9-]`; durable when it resolves. Rejects with StoreError, also when the name is taken. */
  make(name: string, algorithm: KeyAlgorithm): Promise<Signer>
  /** Rejects with StoreError: no such key, damaged, or not to be opened. */
  open(name: string): Promise<Signer>
  has(name: string): Promise<boolean>
}
