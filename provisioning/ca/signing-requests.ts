import type { AuthorityFacts, AuthorityRequest } from './authority-view.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

/** What an edge asks of the registry's process. */
export interface SigningRequest {
  /** Which edge asks, for the log. */
  edge: string
  /** Host names and addresses; the first one becomes the CN. */
  names: string[]
  /** DER SubjectPublicKeyInfo. */
  publicKeyBase64: string
  /** Epoch ms. */
  requestedAt: number
  answer: { serial: string; pem: string } | null
}

/** The CAs, as edges present and trust them; PEM. */
export interface PublishedAuthority {
  /** Chain of the CA that signs server certificates; for edges of before there could be several CAs. */
  issuingPem: string
  caPem: string
  serverIssuerKeyId: string
  issuers: { keyId: string; chainPem: string }[]
  clientIssuersPem: string | null
  /** What operators see of them. */
  authorities: AuthorityFacts[]
  requests: AuthorityRequest[]
}

export const AUTHORITY_ID = 'issuing'

export async function openSigningCollections(
  documents: Documents,
): Promise<{ authorities: Collection<PublishedAuthority>; requests: Collection<SigningRequest> }> {
  return {
    authorities: await documents.collection<PublishedAuthority>({ name: 'authorities', indexes: [] }),
    requests: await documents.collection<SigningRequest>({
      name: 'signing-requests',
      indexes: [{ name: 'waiting', paths: ['answer', 'requestedAt'] }],
    }),
  }
}
