import { createCipheriv, createPrivateKey, pbkdf2, randomBytes, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { integerFromHex, NULL, objectIdentifier, octetString, sequence } from '../der.ts'
import { toPem } from '../sign-certificate.ts'

const derive = promisify(pbkdf2)

const PBES2 = objectIdentifier('1.2.840.113549.1.5.13')
const PBKDF2 = objectIdentifier('1.2.840.113549.1.5.12')
const HMAC_WITH_SHA256 = sequence(objectIdentifier('1.2.840.113549.2.9'), NULL)
const AES_256_CBC = objectIdentifier('2.16.840.1.101.3.4.1.42')
const LABEL = 'ENCRYPTED PRIVATE KEY'

/**
 * A private key as encrypted PKCS#8, PEM: RFC 5958 §3 with PBES2 (RFC 8018 §6.2), PBKDF2 with HMAC-SHA-256 and AES-256-CBC, which
 * `openssl pkey` reads. Written here because Node's own export stretches a passphrase 2 048 times only.
 */
export async function encryptKey(key: KeyObject, passphrase: string, iterations: number): Promise<string> {
  const salt = randomBytes(16)
  const iv = randomBytes(16)
  const cipher = createCipheriv('aes-256-cbc', await derive(passphrase, salt, iterations, 32, 'sha256'), iv)
  const encrypted = Buffer.concat([cipher.update(key.export({ format: 'der', type: 'pkcs8' })), cipher.final()])
  const derivation = sequence(PBKDF2, sequence(octetString(salt), integerFromHex(iterations.toString(16)), HMAC_WITH_SHA256))
  const scheme = sequence(PBES2, sequence(derivation, sequence(AES_256_CBC, octetString(iv))))
  return toPem(LABEL, sequence(scheme, octetString(encrypted)))
}

export function isEncryptedKey(pem: string): boolean {
  return pem.includes(`-----BEGIN ${LABEL}-----`)
}

/** Throws when the passphrase does not open it; which of the two is wrong, passphrase or content, cannot be told apart. */
export function decryptKey(pem: string, passphrase: string): KeyObject {
  return createPrivateKey({ key: pem, format: 'pem', passphrase })
}
