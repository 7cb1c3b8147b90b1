import { Type, type Static } from 'typebox'
import type { Action } from './authorisation.ts'

/** Key of a proposal's events: one proposal's stay in order. */
export function proposalKey(tenant: string, proposal: string): string {
  return `${tenant}/proposal:${proposal}`
}

/** What may be proposed: closed, and only what the platform can do. `says`: for people; `right`: whoever approves must have it. */
export const PROPOSAL_KINDS = {
  'device.quarantine': {
    says: 'quarantine the device: it stays connected, its readings are set aside',
    right: { action: 'write', kind: 'devices' },
  },
  'certificate.revoke': { says: 'revoke the certificate: its sessions end at once', right: { action: 'revoke', kind: 'certificates' } },
  'alert.silence': { says: 'give no notices of the alert for a while', right: { action: 'write', kind: 'alerts' } },
  'incident.acknowledge': { says: 'acknowledge the incident as a whole', right: { action: 'write', kind: 'alerts' } },
} as const satisfies Record<string, { says: string; right: { action: Action; kind: string } }>
export type ProposalKind = keyof typeof PROPOSAL_KINDS
export const PROPOSAL_KIND_NAMES = Object.keys(PROPOSAL_KINDS) as ProposalKind[]

/**
 * `pending`: waits for somebody; `approved`: it is being done; `done`, `failed`: it was, or could not be, and will not be tried again;
 * `rejected`, `expired`: it never will be.
 */
export const PROPOSAL_STATES = ['pending', 'approved', 'done', 'failed', 'rejected', 'expired'] as const
export type ProposalState = (typeof PROPOSAL_STATES)[number]

const oneOf = <T extends string>(values: readonly T[], description: string) =>
  Type.Unsafe<T>({ type: 'string', enum: [...values], description })
const textOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description })
const timeOrNull = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description })
const ScalarSchema = Type.Union([Type.String(), Type.Number(), Type.Null()])

/** An id as the stores give them; nothing else gets into what is executed. */
export const PROPOSAL_TARGET_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'

/** What is to be done to what: a kind, an id and a number. No text of a device has a place here. */
export const ProposedActSchema = Type.Object({
  kind: oneOf(PROPOSAL_KIND_NAMES, 'what is proposed'),
  target: Type.String({ pattern: PROPOSAL_TARGET_PATTERN, description: 'id of the device, certificate, alert or incident' }),
  untilMs: timeOrNull('of alert.silence: until when, epoch ms'),
})
export type ProposedAct = Static<typeof ProposedActSchema>

/** One field that would change. */
export const ChangeSchema = Type.Object({
  subject: Type.String({ description: '`device/pump-1`' }),
  field: Type.String(),
  before: ScalarSchema,
  after: ScalarSchema,
})
export type Change = Static<typeof ChangeSchema>

export const ProposalSchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  incident: Type.String(),
  conversation: Type.String(),
  ...ProposedActSchema.properties,
  says: Type.String({ description: 'the kind, for people' }),
  cause: Type.String({ description: 'why: a code of the catalogue of causes' }),
  level: Type.String({ description: 'how sure the cause is' }),
  evidence: Type.Array(Type.String(), { description: 'ids of what stands behind the cause' }),
  diff: Type.Array(ChangeSchema, { description: 'what would change, as of the last dry run; nothing was executed for it' }),
  diffHash: Type.String({ description: 'SHA-256, hex, of what is proposed and its diff: approval names it' }),
  state: oneOf(PROPOSAL_STATES, 'where it is'),
  createdBy: Type.String(),
  createdAt: Type.Integer({ description: 'epoch ms' }),
  expiresAt: Type.Integer({ description: 'epoch ms: not approved by then, it never will be' }),
  decidedBy: textOrNull('who approved or rejected it'),
  decidedAt: timeOrNull('epoch ms'),
  reason: textOrNull('why it was rejected'),
  settledAt: timeOrNull('when it was done or failed, epoch ms'),
  outcome: textOrNull('what came of it, or why not'),
})
export type Proposal = Static<typeof ProposalSchema>
