import type { DeviceIdentity } from '../../contracts/device-identity.ts'
import { deviceUri } from '../../contracts/device-identity.ts'
import { implicitPrimitive, integerFromHex, objectIdentifier, octetString, sequence, set } from '../ca/der.ts'
import type { KeyType } from './config.ts'

const EC_PUBLIC_KEY = objectIdentifier('1.2.840.10045.2.1')
const RSA_ENCRYPTION = objectIdentifier('1.2.840.113549.1.1.1')
const ECDSA_WITH_SHA256 = objectIdentifier('1.2.840.10045.4.3.2')
const ECDSA_WITH_SHA384 = objectIdentifier('1.2.840.10045.4.3.3')
const SHA256_WITH_RSA = objectIdentifier('1.2.840.113549.1.1.11')
const EXTENSION_REQUEST = objectIdentifier('1.2.840.113549.1.9.14')
const SUBJECT_ALTERNATIVE_NAME = objectIdentifier('2.5.29.17')
const EXTENDED_KEY_USAGE = objectIdentifier('2.5.29.37')
const CLIENT_AUTH = objectIdentifier('1.3.6.1.5.5.7.3.2')
const CURVES: Readonly<Partial<Record<KeyType, Buffer>>> = {
  'P-256': objectIdentifier('1.2.840.10045.3.1.7'),
  'P-384': objectIdentifier('1.3.132.0.34'),
}
/** uniformResourceIdentifier of GeneralName. RFC 5280 §4.2.1.6 */
const URI = 6

/**
 * What a request should hold, DER CsrAttrs (RFC 7030 §4.5.2, AttrOrOID as RFC 9908 §3.2 has it): the kinds of key that are taken, each with
 * its signature, and the extensions that the certificate will have; for a client that we know, its own name with them. Names in a request
 * decide nothing here, so a client that ignores them is fine too.
 */
export function encodeCsrAttributes(wanted: readonly KeyType[], identity: DeviceIdentity | undefined): Buffer {
  const curves = wanted.map((key) => CURVES[key]).filter((curve) => curve !== undefined)
  const rsa = wanted.filter((key) => key.startsWith('RSA-')).map((key) => integerFromHex(Number(key.slice('RSA-'.length)).toString(16)))
  const elements: Buffer[] = []
  if (curves.length > 0) elements.push(sequence(EC_PUBLIC_KEY, setOf(curves)))
  if (rsa.length > 0) elements.push(sequence(RSA_ENCRYPTION, setOf(rsa)))
  if (wanted.includes('P-256')) elements.push(ECDSA_WITH_SHA256)
  if (wanted.includes('P-384')) elements.push(ECDSA_WITH_SHA384)
  if (rsa.length > 0) elements.push(SHA256_WITH_RSA)
  elements.push(sequence(EXTENSION_REQUEST, set(extensions(identity))))
  return sequence(...elements)
}

function extensions(identity: DeviceIdentity | undefined): Buffer {
  const usage = sequence(EXTENDED_KEY_USAGE, octetString(sequence(CLIENT_AUTH)))
  if (identity === undefined) return sequence(usage)
  const name = implicitPrimitive(URI, Buffer.from(deviceUri(identity.tenant, identity.device), 'ascii'))
  return sequence(usage, sequence(SUBJECT_ALTERNATIVE_NAME, octetString(sequence(name))))
}

/** DER wants the elements of a SET OF in the order of their encodings. X.690 §11.6 */
function setOf(elements: readonly Buffer[]): Buffer {
  return set(...elements.toSorted((a, b) => Buffer.compare(a, b)))
}
