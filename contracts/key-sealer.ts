import type { KeyObject } from 'node:crypto'

/** Keeps private keys that lie in files from being read by whoever gets a copy of the file. */
export interface KeySealer {
  /** PEM of the key, encrypted. */
  seal(key: KeyObject): Promise<string>
  /** Was this made by `seal`? A key of before keys were encrypted was not. */
  isSealed(pem: string): boolean
  /** Throws StoreError when it does not open; `path` is for the sentence. */
  open(pem: string, path: string): Promise<KeyObject>
}

/** The platform's key for statements, below the data folder: PKCS#8, mode 0600. */
export const STATEMENT_KEY_FILE = 'statement-key.pem'
