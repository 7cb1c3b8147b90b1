import type { Author } from './label.ts'
import type { Claim, EvidenceHandle } from './claim.ts'
import type { Draft } from './draft.ts'
import type { CauseReport, CheckReport, Gap, IncidentHistory, Investigation } from './investigation.ts'
import type { Level } from '../causes/catalogue.ts'
import type { ProposalKind } from '../../contracts/proposal.ts'
import type { Section } from './render.ts'

/** Version of the local reporter's templates: with the evidence it decides every byte of a local digest. */
export const TEMPLATE_VERSION = 1

/** A digest that passed the gate. `headline` and `sections` hold names; everything else holds handles, figures and words of ours. */
export interface Summary {
  incident: string
  tenant: string
  author: Author
  /** Who wrote it, for people: shown wherever the digest is. */
  label: string
  templateVersion: number
  asOf: number
  evidenceHash: string
  headline: string
  sections: Section[]
  draft: Draft
  claims: Claim[]
  /** Ids of evidence by handle. */
  evidence: Record<EvidenceHandle, string>
  checks: CheckReport[]
  causes: CauseReport[]
  /** Of the first cause. */
  level: Level
  gaps: Gap[]
  history: IncidentHistory
  proposals: ProposalKind[]
  features: number[]
  names: Investigation['names']
  verification: { checkedBy: string; claims: number }
}
