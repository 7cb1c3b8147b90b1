import { createPrivateKey, generateKeyPair, sign, webcrypto, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'

/**
 * P-256 for both CAs and for servers: 128-bit strength, and the one curve that every TLS stack on small devices verifies, often in hardware.
 */
const CURVE = 'P-256'

const generate = promisify(generateKeyPair)

/** A new private key as PKCS#8 PEM. */
export async function newPrivateKeyPem(): Promise<string> {
  const { privateKey } = await generate('ec', { namedCurve: CURVE })
  return privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
}

/** What signs: certificates through WebCrypto, CRLs directly. Keys are held so that this is the only place that touches them. */
export interface CaKey {
  keyObject: KeyObject
  webKey: webcrypto.CryptoKey
  /** DER signature, ecdsa-with-SHA256. RFC 5758 §3.2 */
  sign(content: Uint8Array): Buffer
}

/** Throws when the PEM is not an ECDSA P-256 private key. */
export async function readCaKey(pem: string): Promise<CaKey> {
  const key = createPrivateKey(pem)
  const webKey = await webcrypto.subtle.importKey('pkcs8', pkcs8(key), { name: 'ECDSA', namedCurve: CURVE }, false, ['sign'])
  return { keyObject: key, webKey, sign: (content) => sign('sha256', content, key) }
}

function pkcs8(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'pkcs8' })
}
