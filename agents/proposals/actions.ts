import type { Incident } from '../../contracts/incident.ts'
import type { Change, ProposalKind, ProposedAct } from '../../contracts/proposal.ts'

/** What an act would change, seen without doing it. */
export type DryRun =
  /** `basis`: the version of what would change; the act is done to that version or not at all. */
  | { status: 'possible'; diff: Change[]; basis: number }
  /** It is so already. */
  | { status: 'applied' }
  | { status: 'impossible'; why: string }

/** One kind of act, over the station that can do it; app joins them. */
export interface ActionPort {
  /** What of this incident it could be done to, from the stores alone; bounded by `targetsMax`. */
  targets(incident: Incident, targetsMax: number): Promise<string[]>
  /** Reads, and changes nothing. */
  dryRun(tenant: string, act: ProposedAct): Promise<DryRun>
  /**
   * Does it where the thing still has version `basis`; throws ConflictError otherwise. Done twice with one basis it changes something once at
   * most.
   */
  execute(tenant: string, act: ProposedAct, order: { basis: number; by: string; proposal: string }): Promise<void>
}

/** The allow-list: what is not here cannot be proposed. */
export type Actions = Readonly<Record<ProposalKind, ActionPort>>
