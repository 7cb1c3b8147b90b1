import { createHash } from 'node:crypto'
import type { IssuingCa } from '../ca/issuing-ca.ts'
import { readBits, readSequence, TAG } from './der-reader.ts'
import type { CertId } from './ocsp-request.ts'

/** Hashes by which verifiers name an issuer. RFC 6960 §4.1.1 leaves them open; SHA-1 is what most still ask with (RFC 5019 §2.1.1), and it protects nothing here. */
const HASHES: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
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

/** Finds the CA that an OCSP request means. */
export class IssuerHashes {
  #issuers: readonly IssuingCa[] = []
  #byHashes = new Map<string, IssuingCa>()

  find({ hashAlgorithm, issuerNameHash, issuerKeyHash }: CertId, issuers: readonly IssuingCa[]): IssuingCa | undefined {
    if (issuers !== this.#issuers) this.#take(issuers)
    return this.#byHashes.get(`${hashAlgorithm} ${issuerNameHash.toString('hex')} ${issuerKeyHash.toString('hex')}`)
  }

  #take(issuers: readonly IssuingCa[]): void {
    this.#issuers = issuers
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
