import { X509Certificate } from 'node:crypto'
import type { Documents } from '../../storage/documents/documents.ts'
import { keyIdentifierOf } from '../ca/extensions.ts'
import { AUTHORITY_ID, openSigningCollections } from '../ca/signing-requests.ts'
import type { Certificates } from '../certificates.ts'
import type { CrlAuthority } from './crl-import.ts'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Our own CAs as the process that holds their keys has published them, so that any process can check what they signed. */
export async function publishedAuthorities(documents: Documents, certificates: Certificates, tenant: string): Promise<CrlAuthority[]> {
  const { authorities } = await openSigningCollections(documents)
  const published = await authorities.get(AUTHORITY_ID)
  // Retired ones, too: what they signed may still be listed.
  const pems = [published?.caPem, ...(published?.issuers ?? []).map(({ chainPem }) => chainPem)].join('\n')
  return [...new Set(pems.match(CERTIFICATE))].map((pem) => {
    const certificate = new X509Certificate(pem)
    const keyId = keyIdentifierOf(certificate)
    return { certificate, find: (serial) => certificates.issuedBy(keyId, tenant, serial) }
  })
}
