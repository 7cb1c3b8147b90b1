import { AsyncLocalStorage } from 'node:async_hooks'
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
  actor: Type.String({ description: '`user:NAME`, `device:ID`, `system` or `anonymous`' }),
  /** Address the request came from, where there was one. */
  origin: Type.Optional(Type.String()),
  /** What was done, `NOUN.VERB`: `device.suspend`, `certificate.revoke`. */
  action: Type.String(),
  subject: Type.Object({ kind: Type.String(), id: Type.String() }),
  /** The device concerned, where the subject is another thing (a certificate, a token). */
  device: Type.Optional(Type.String()),
  /** `done`; `refused`: who asked may not; `failed`: it could not be done, and nothing changed unless `why` says so. */
  outcome: Type.Union([Type.Literal('done'), Type.Literal('refused'), Type.Literal('failed')]),
  why: Type.Optional(Type.String()),
  /** The fields that changed, as they were and as they are; never a secret. */
  before: Type.Optional(Type.Unknown()),
  after: Type.Optional(Type.Unknown()),
  /** Refused and failed acts of one kind within a while are one entry: how many they were. */
  count: Type.Optional(Type.Integer({ minimum: 1 })),
  correlationId: Type.Optional(Type.String()),
  previousHash: Type.String({ description: 'SHA-256, lower-case hex; 64 zeros before the first' }),
  hash: Type.String({ description: 'SHA-256, lower-case hex, of the other fields as canonical JSON (RFC 8785)' }),
})
export type AuditEntry = Static<typeof AuditEntrySchema>
export type AuditOutcome = AuditEntry['outcome']

/** What whoever acts says of it; the trail adds place, time and hashes. */
export interface AuditedAct {
  tenant: string
  actor: Actor
  origin?: string
  action: string
  subject: { kind: string; id: string }
  device?: string
  /** Default `done`. */
  outcome?: AuditOutcome
  why?: string
  before?: unknown
  after?: unknown
  count?: number
  correlationId?: string
}

/** Where acts are recorded. */
export interface AuditTrail {
  /** Resolves when the entry is durable. Throws StoreError when it cannot be: the act is then reported as failed, never left unrecorded in silence. */
  record(act: AuditedAct): Promise<void>
  /**
   * Notes durably what is about to be done, where it cannot be written together with its entry; what it answers is called once the entry is
   * there or the act was refused. What a crash cuts off in between is recorded at the next start, as `failed`: it may have been done.
   */
  begin?(act: AuditedAct): Promise<() => void>
}

/**
 * The request within which things are done. What is recorded inside it gets its `origin` and `correlationId` without anyone handing them
 * on, and whoever opened it sees whether an entry was left.
 */
export interface AuditScope {
  origin?: string
  correlationId?: string
  /** Nouns of the acts recorded within it. */
  recorded: Set<string>
}
/** What an action is about: `device` of `device.suspend`. */
export function nounOf(action: string): string {
  return action.split('.')[0] as string
}

export const auditScope = new AsyncLocalStorage<AuditScope>()

/** What a signed checkpoint says: the tenant's chain has this hash at this place. A `cut` also says that what lies before was removed by age. */
export const AuditCheckpointSchema = Type.Object({
  tenant: Type.String(),
  kind: Type.Union([Type.Literal('head'), Type.Literal('cut')]),
  seq: Type.Integer({ minimum: 1 }),
  hash: Type.String(),
  at: Type.Integer({ description: 'epoch ms' }),
})
export type AuditCheckpoint = Static<typeof AuditCheckpointSchema>
/** `typ` of its JWS. */
export const AUDIT_CHECKPOINT = 'fleetpulse-audit-checkpoint+jws'
