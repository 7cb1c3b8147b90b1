import { createHash } from 'node:crypto'
import { integerFromHex, NULL, objectIdentifier, octetString, sequence } from '../ca/der.ts'
import type { IssuingCa } from '../ca/issuing-ca.ts'
import { readBits, readSequence, TAG } from './der-reader.ts'
import type { CertId } from './ocsp-request.ts'

const SHA_1 = '1.3.14.3.2.26'

/** Hashes by which verifiers name an issuer. RFC 6960 §4.1.1 leaves them open; SHA-1 is what most still ask with (RFC 5019 §2.1.1), and it protects nothing here. */
const HASHES: Readonly<Record<string, string>> = {
  [SHA_1]: 'sha1',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
}

/** The key of a SubjectPublicKeyInfo without its tag and algorithm: what key hashes are over. */
export function subjectPublicKeyBits(subjectPublicKeyInfo: Uint8Array): Buffer {
  const fields = readSequence(subjectPublicKeyInfo)
  fields.expect(TAG.sequence)
  return readBits(fields.expect(TAG.bitString))
}

/** How most verifiers name a certificate: they look for this in an answer, and take one in no other hash for it. RFC 5019 §2.1.1 */
export function certIdOf(issuer: IssuingCa, serial: string): CertId {
  const hash = (content: Uint8Array): Buffer => createHash('sha1').update(content).digest()
  const issuerNameHash = hash(issuer.name)
  const issuerKeyHash = hash(subjectPublicKeyBits(issuer.certificate.publicKey.export({ format: 'der', type: 'spki' })))
  const algorithm = sequence(objectIdentifier(SHA_1), NULL)
  const raw = sequence(algorithm, octetString(issuerNameHash), octetString(issuerKeyHash), integerFromHex(serial))
  return { raw, hashAlgorithm: SHA_1, issuerNameHash, issuerKeyHash, serial }
}

/** Finds the CA that an OCSP request means. */
export class IssuerHashes {
  #known = ''
  #byHashes = new Map<string, IssuingCa>()

  find({ hashAlgorithm, issuerNameHash, issuerKeyHash }: CertId, issuers: readonly IssuingCa[]): IssuingCa | undefined {
    const named = issuers.map(({ keyId }) => keyId).join()
    if (named !== this.#known) this.#take(issuers)
    this.#known = named
    return this.#byHashes.get(`${hashAlgorithm} ${issuerNameHash.toString('hex')} ${issuerKeyHash.toString('hex')}`)
  }

  #take(issuers: readonly IssuingCa[]): void {
    this.#byHashes = new Map(
      issuers.flatMap((issuer) =>
        Object.entries(HASHES).map(([oid, name]) => {
          const hash = (content: Uint8Array): string => createHash(name).update(content).digest('hex')
          const key = subjectPublicKeyBits(issuer.certificate.publicKey.export({ format: 'der', type: 'spki' }))
          return [`${oid} ${hash(issuer.name)} ${hash(key)}`, issuer] as const
        }),
      ),
    )
  }
}
