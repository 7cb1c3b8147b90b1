import {
  FEEDBACK_ADOPTIONS_COLLECTION,
  FEEDBACK_CHANGES_COLLECTION,
  type FeedbackChange,
  type FeedbackRule,
} from '../../contracts/feedback-change.ts'
import type { RoadSettings } from '../../contracts/operator.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { AdoptedChanges } from '../settings/adopted-changes.ts'
import { concerns, type FeedbackView } from './rule.ts'

export interface AppliedFeedbackOptions {
  documents: Documents
  clock: Clock
  log: Logger
  config: { feedbackPollMs: number }
}

/** Adoptions kept of a partition: far more than changes between two checkpoints, and enough to replay what the log still has. */
const ADOPTIONS_MAX = 1_000

/**
 * What detectors go by of what people said, the same for the same reading however often it is processed and by whom (`AdoptedChanges`).
 */
export class AppliedFeedback implements Service, RoadSettings, FeedbackView {
  readonly name = 'applied-feedback'
  readonly #adopted: AdoptedChanges<FeedbackChange>
  #changes: FeedbackChange[] = []

  constructor({ documents, clock, log, config }: AppliedFeedbackOptions) {
    this.#adopted = new AdoptedChanges({
      ...{ documents, clock, log, pollMs: config.feedbackPollMs },
      changes: FEEDBACK_CHANGES_COLLECTION,
      adoptions: FEEDBACK_ADOPTIONS_COLLECTION,
      adoptionsMax: ADOPTIONS_MAX,
      onChange: (change) => this.#changes.push(change),
    })
  }

  start(): Promise<void> {
    return this.#adopted.start()
  }

  async stop(): Promise<void> {
    await this.#adopted.stop()
    this.#changes = []
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

  rulesFor(tenant: string, type: string, device: string, metric: string, partition: number, offset: number): readonly FeedbackRule[] {
    const number = this.#adopted.numberAt(partition, offset)
    return number === 0 ? [] : this.rulesAt(tenant, number).filter((rule) => concerns(rule, tenant, type, device, metric))
  }

  /** The rules of a tenant after change `number`, in the order in which they were applied. */
  rulesAt(tenant: string, number: number): FeedbackRule[] {
    const rules = new Map<string, FeedbackRule>()
    for (const change of this.#changes.slice(0, number)) {
      if (change.tenant !== tenant) continue
      rules.delete(change.feedback)
      if (change.rule !== null) rules.set(change.feedback, change.rule)
    }
    return [...rules.values()]
  }

  get newest(): number {
    return this.#adopted.newest
  }
}
