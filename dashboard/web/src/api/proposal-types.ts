/** What agents propose. All text in it is shown as text. */

export const PROPOSAL_STATES = ['pending', 'approved', 'done', 'failed', 'rejected', 'expired'] as const
export type ProposalState = (typeof PROPOSAL_STATES)[number]

export interface ProposedChange {
  subject: string
  field: string
  before: string | number | null
  after: string | number | null
}

export interface Proposal {
  id: string
  incident: string
  conversation: string
  kind: string
  target: string
  says: string
  cause: string
  level: string
  /** Ids. */
  evidence: string[]
  diff: ProposedChange[]
  diffHash: string
  state: ProposalState
  createdBy: string
  createdAt: number
  expiresAt: number
  decidedBy: string | null
  decidedAt: number | null
  reason: string | null
  settledAt: number | null
  outcome: string | null
}
