import type { ClaimRequest, DoorAnswer, FactoryCredential, GrantedCertificate } from '../../contracts/credential.ts'
import type { ClaimToSign, SignedClaim } from './claims.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

export type DeskQuestion =
  | { kind: 'claim'; request: ClaimRequest }
  | { kind: 'factory'; request: { credential: FactoryCredential; certificatePem: string; origin: string } }
  | { kind: 'sign-claim'; request: ClaimToSign }

/** `failed`: it could not be decided now. */
export type DeskAnswer = DoorAnswer<GrantedCertificate> | DoorAnswer<object> | ({ status: 'granted' } & SignedClaim) | { status: 'failed' }

/** What an edge asks of the registry's process; whoever may write here is part of the platform. */
export interface DeskRequest {
  /** Which edge asks. */
  edge: string
  question: DeskQuestion
  /** Epoch ms. */
  askedAt: number
  answered: boolean
  answer: DeskAnswer | null
}

export function openDeskRequests(documents: Documents): Promise<Collection<DeskRequest>> {
  return documents.collection<DeskRequest>({ name: 'door-requests', indexes: [{ name: 'waiting', paths: ['answered', 'askedAt'] }] })
}
