import { Type, type Static } from 'typebox'
import type { Actor } from './registrar.ts'

/**
 * One thing that somebody did, as the trail keeps it. Entries of a tenant form a hash chain: `hash` covers every other field,
 * `previousHash` among them, so that an altered, removed or inserted entry breaks the chain behind it.
 */
export const AuditEntrySchema = Type.Object({
  tenant: Type.String(),
  /** Place in the tenant's chain, from 1 without gaps. */
  seq: Type.Integer({ minimum: 1 }),
  at: Type.Integer({ description: 'epoch ms' }),
  actor: Type.String({ description: '`user:NAME`, `device:ID` or `system`' }),
  /** Address the request came from, where there was one. */
  origin: Type.Optional(Type.String()),
  /** What was done, `NOUN.VERB`: `device.suspend`, `certificate.revoke`. */
  action: Type.String(),
  subject: Type.Object({ kind: Type.String(), id: Type.String() }),
  why: Type.Optional(Type.String()),
  /** The fields that changed, as they were and as they are; never a secret. */
  before: Type.Optional(Type.Unknown()),
  after: Type.Optional(Type.Unknown()),
  correlationId: Type.Optional(Type.String()),
  previousHash: Type.String({ description: 'SHA-256, lower-case hex; 64 zeros before the first' }),
  hash: Type.String({ description: 'SHA-256, lower-case hex' }),
})
export type AuditEntry = Static<typeof AuditEntrySchema>

/** What whoever acts says of it; the trail adds place, time and hashes. */
export interface AuditedAct {
  tenant: string
  actor: Actor
  origin?: string
  action: string
  subject: { kind: string; id: string }
  why?: string
  before?: unknown
  after?: unknown
  correlationId?: string
}

/** Where acts are recorded. */
export interface AuditTrail {
  /** Resolves when the entry is durable. Throws StoreError when it cannot be: the act is then reported as failed, never left unrecorded in silence. */
  record(act: AuditedAct): Promise<void>
}
