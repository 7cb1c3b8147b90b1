import { createHash } from 'node:crypto'
import { PROPOSAL_KINDS, type Change, type Proposal, type ProposedAct } from '../../contracts/proposal.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'
import type { Told } from '../bus/outbox.ts'

/** Who executes an approved proposal now; when the lease is over, another may find out what came of it. */
export interface ExecutionLease {
  epoch: number
  until: number
}

export interface ProposalDocument extends Told, Omit<Proposal, 'says'> {
  v: 1
  /** Of an approved one; null before anybody tried. */
  lease: ExecutionLease | null
  attempts: number
  /** When time makes something of it due, epoch ms; null: never again. */
  dueAt: number | null
}
export type StoredProposal = ProposalDocument & Stored

export const PROPOSALS_COLLECTION: CollectionSpec = {
  name: 'proposals',
  indexes: [
    { name: 'newest', paths: ['tenant', 'createdAt'] },
    { name: 'by-incident', paths: ['tenant', 'incident'] },
    { name: 'by-due', paths: ['dueAt'] },
    { name: 'unpublished', paths: ['unpublishedSince'] },
  ],
}

/** The same act of the same incident is one proposal, however often it is thought of. */
export function proposalId(tenant: string, incident: string, { kind, target }: ProposedAct): string {
  return `pr_${sha256([tenant, incident, kind, target]).slice(0, 32)}`
}

/** Binds an approval to what was shown: the act, and every field it would change. */
export function diffHash({ kind, target, untilMs }: ProposedAct, diff: readonly Change[]): string {
  return sha256({ kind, target, untilMs, diff })
}

export function actOf({ kind, target, untilMs }: ProposedAct): ProposedAct {
  return { kind, target, untilMs }
}

/** As it is seen from outside. */
export function proposalOf(document: ProposalDocument): Proposal {
  const { id, tenant, incident, conversation, kind, target, untilMs, cause, level, evidence, diff, state } = document
  const { createdBy, createdAt, expiresAt, decidedBy, decidedAt, reason, settledAt, outcome } = document
  return {
    ...{ id, tenant, incident, conversation, kind, target, untilMs, says: PROPOSAL_KINDS[kind].says, cause, level, evidence },
    ...{ diff, diffHash: document.diffHash, state, createdBy, createdAt, expiresAt },
    ...{ decidedBy, decidedAt, reason, settledAt, outcome },
  }
}

function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex')
}
