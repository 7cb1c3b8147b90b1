import type { RoadSettings } from '../../contracts/operator.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { AdoptedChanges } from '../settings/adopted-changes.ts'
import type { PoliciesView } from './policies.ts'
import { POLICIES_COLLECTION, POLICY_ADOPTIONS_COLLECTION, type PolicyChange } from './policy.ts'

export interface AppliedPoliciesOptions {
  documents: Documents
  clock: Clock
  log: Logger
  config: { feedbackPollMs: number }
}

/** Adoptions kept of a partition. */
const ADOPTIONS_MAX = 1_000

/** The policies that people put, the same for the same reading however often it is processed and by whom (`AdoptedChanges`). */
export class AppliedPolicies implements Service, RoadSettings, PoliciesView {
  readonly name = 'applied-policies'
  readonly #adopted: AdoptedChanges<PolicyChange>
  /** By tenant, oldest first. */
  readonly #changes = new Map<string, PolicyChange[]>()

  constructor({ documents, clock, log, config }: AppliedPoliciesOptions) {
    this.#adopted = new AdoptedChanges({
      ...{ documents, clock, log, pollMs: config.feedbackPollMs },
      changes: POLICIES_COLLECTION,
      adoptions: POLICY_ADOPTIONS_COLLECTION,
      adoptionsMax: ADOPTIONS_MAX,
      onChange: (change) => {
        const own = this.#changes.get(change.tenant)
        if (own === undefined) this.#changes.set(change.tenant, [change])
        else own.push(change)
      },
    })
  }

  start(): Promise<void> {
    return this.#adopted.start()
  }

  async stop(): Promise<void> {
    await this.#adopted.stop()
    this.#changes.clear()
  }

  /** Reads changes that came since. */
  refresh(): Promise<void> {
    return this.#adopted.refresh()
  }

  isBehind(partitions: Iterable<number>): boolean {
    return this.#adopted.isBehind(partitions)
  }

  take(group: string, partitions: readonly number[]): Promise<void> {
    return this.#adopted.take(group, partitions)
  }

  adopt(group: string, next: ReadonlyMap<number, number>): Promise<void> {
    return this.#adopted.adopt(group, next)
  }

  at(tenant: string, partition: number, offset: number): PolicyChange | null {
    const own = this.#changes.get(tenant)
    if (own === undefined) return null
    const number = this.#adopted.numberAt(partition, offset)
    for (let k = own.length - 1; k >= 0; k--) {
      const change = own[k] as PolicyChange
      if (change.number <= number) return change
    }
    return null
  }
}
