import { bitString, explicit, integerFromHex, objectIdentifier, sequence, set } from './der.ts'
import type { Signer } from './keys/key-store.ts'
import { encodeName, toPem, type SubjectName } from './sign-certificate.ts'
import { x509 } from './x509.ts'

const VERSION_1 = integerFromHex('00')
/** RFC 2985 §5.4.2 */
const EXTENSION_REQUEST = objectIdentifier('1.2.840.113549.1.9.14')
const { KeyUsageFlags } = x509

/** A PKCS#10 request for an issuing CA (RFC 2986 §4) that asks for what such a certificate must say; the signer may say it otherwise. */
export async function encodeCaRequest(key: Signer, subject: SubjectName): Promise<string> {
  const wanted = [
    new x509.BasicConstraintsExtension(true, 0, true),
    new x509.KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
  const extensions = sequence(...wanted.map((extension) => new Uint8Array(extension.rawData)))
  const information = sequence(
    VERSION_1,
    encodeName(subject),
    key.publicKey.export({ format: 'der', type: 'spki' }),
    // `[0] IMPLICIT SET OF` is constructed, so it is written like an explicit tag.
    explicit(0, sequence(EXTENSION_REQUEST, set(extensions))),
  )
  return toPem('CERTIFICATE REQUEST', sequence(information, key.signatureAlgorithm, bitString(await key.sign(information))))
}
