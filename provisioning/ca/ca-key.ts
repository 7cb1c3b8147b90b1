import { generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'

/** P-256 for servers and for devices whose key is made here: 128-bit strength, verified by every TLS stack on small devices, often in hardware. */
const CURVE = 'P-256'

const generate = promisify(generateKeyPair)

/** A new private key as PKCS#8 PEM. */
export async function newPrivateKeyPem(): Promise<string> {
  const { privateKey } = await generate('ec', { namedCurve: CURVE })
  return privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
}
