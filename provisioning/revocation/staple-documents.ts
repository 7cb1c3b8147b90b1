import type { Staple } from '../../kernel/tls.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

/** A certificate of one of our listeners, in whichever process; the id is its serial. */
export interface ServerCertificateDocument {
  serial: string
  /** Key id of the CA that signed it. */
  issuer: string
  pem: string
  /** Epoch ms. */
  notAfter: number
  /** Its holder asks for a new staple. */
  isWanted: boolean
  staple: Staple | null
}

/** Listeners publish their certificates here and find staples beside them; who may write here is part of the platform. */
export function openServerCertificates(documents: Documents): Promise<Collection<ServerCertificateDocument>> {
  return documents.collection<ServerCertificateDocument>({
    name: 'server-certificates',
    indexes: [{ name: 'wanted', paths: ['isWanted'] }],
  })
}
