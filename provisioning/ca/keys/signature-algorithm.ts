import type { KeyObject } from 'node:crypto'
import { NULL, objectIdentifier, sequence } from '../der.ts'
import type { KeyAlgorithm } from './key-store.ts'

/** How a kind of key signs: digest (Node's name) and DER AlgorithmIdentifier. */
export interface SignatureAlgorithm {
  hash: 'sha256' | 'sha384'
  identifier: Buffer
}

/** RFC 5758 §3.2: parameters are absent. */
const ECDSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'))
const ECDSA_WITH_SHA384 = sequence(objectIdentifier('1.2.840.10045.4.3.3'))
/** RFC 4055 §5: parameters are NULL. */
const RSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.113549.1.1.11'), NULL)

/** The digest matches the strength of the key. Throws TypeError for a key that our CAs may not have. */
export function signatureOf(publicKey: KeyObject): SignatureAlgorithm {
  const algorithm = keyAlgorithmOf(publicKey)
  if (algorithm === 'ecdsa-p256') return { hash: 'sha256', identifier: ECDSA_WITH_SHA256 }
  if (algorithm === 'ecdsa-p384') return { hash: 'sha384', identifier: ECDSA_WITH_SHA384 }
  return { hash: 'sha256', identifier: RSA_WITH_SHA256 }
}

/** Throws TypeError for a key that is no KeyAlgorithm. */
export function keyAlgorithmOf(publicKey: KeyObject): KeyAlgorithm {
  const { namedCurve, modulusLength } = publicKey.asymmetricKeyDetails ?? {}
  if (publicKey.asymmetricKeyType === 'ec' && namedCurve === 'prime256v1') return 'ecdsa-p256'
  if (publicKey.asymmetricKeyType === 'ec' && namedCurve === 'secp384r1') return 'ecdsa-p384'
  if (publicKey.asymmetricKeyType === 'rsa' && (modulusLength === 2_048 || modulusLength === 3_072 || modulusLength === 4_096)) {
    return `rsa-${modulusLength}`
  }
  throw new TypeError(`a CA key must be ECDSA P-256 or P-384, or RSA of 2048, 3072 or 4096 bits`)
}
