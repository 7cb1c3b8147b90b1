import { createPublicKey, sign, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { Signer } from './key-store.ts'
import { signatureOf } from './signature-algorithm.ts'

const signAsync = promisify(sign)

/** Signs with a key held in memory. Throws TypeError for a key that our CAs may not have. */
export function privateKeySigner(privateKey: KeyObject): Signer {
  const publicKey = createPublicKey(privateKey)
  const { hash, identifier } = signatureOf(publicKey)
  return { publicKey, signatureAlgorithm: identifier, sign: (content) => signAsync(hash, content, privateKey) }
}
