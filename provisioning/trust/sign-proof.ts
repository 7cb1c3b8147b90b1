import { createPrivateKey, createPublicKey, sign, X509Certificate } from 'node:crypto'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import { bitString, explicit, integerFromHex, objectIdentifier, sequence, set, time, utf8String } from '../ca/der.ts'
import { newSerial } from '../ca/serial.ts'
import { subjectOf, toPem } from '../ca/sign-certificate.ts'

const COMMON_NAME = objectIdentifier('2.5.4.3')
const VERSION_3 = integerFromHex('02')
const ECDSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'))
const SHA256_WITH_RSA = sequence(objectIdentifier('1.2.840.113549.1.1.11'), Buffer.from([0x05, 0x00]))
/** A proof is looked at at once; clocks may differ. */
const VALID_MS = 3_600_000

/** A certificate with the registration code as its common name, signed by the CA: what the operator does with openssl where the key is. */
export async function signProof(input: { code: string; caPem: string; caKeyPem: string; nowMs: number }): Promise<string> {
  const key = createPrivateKey(input.caKeyPem)
  const algorithm = key.asymmetricKeyType === 'rsa' ? SHA256_WITH_RSA : ECDSA_WITH_SHA256
  const subject = sequence(set(sequence(COMMON_NAME, utf8String(input.code))))
  const proofKey = createPublicKey(await newPrivateKeyPem()).export({ format: 'der', type: 'spki' })
  const toBeSigned = sequence(
    explicit(0, VERSION_3),
    integerFromHex(newSerial()),
    algorithm,
    new Uint8Array(subjectOf(new X509Certificate(input.caPem)).toArrayBuffer()),
    sequence(time(input.nowMs - VALID_MS), time(input.nowMs + VALID_MS)),
    subject,
    proofKey,
  )
  return toPem('CERTIFICATE', sequence(toBeSigned, algorithm, bitString(sign('sha256', toBeSigned, key))))
}
