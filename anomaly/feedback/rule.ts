import type { FeedbackRule } from '../../contracts/feedback-change.ts'

/** The rules in force, as an operator asks for them. Asked only where something is odd, so it need not be fast. */
export interface FeedbackView {
  /** Rules for one metric of a device at a place of the readings topic: the same place always has the same ones. */
  rulesFor(tenant: string, type: string, device: string, metric: string, partition: number, offset: number): readonly FeedbackRule[]
}

export const NO_FEEDBACK: FeedbackView = { rulesFor: () => [] }

/** The same rules everywhere, for a replay. */
export class FixedFeedback implements FeedbackView {
  readonly #rules: readonly FeedbackRule[]

  constructor(rules: readonly FeedbackRule[]) {
    this.#rules = rules
  }

  rulesFor(tenant: string, type: string, device: string, metric: string): readonly FeedbackRule[] {
    return this.#rules.filter((rule) => concerns(rule, tenant, type, device, metric))
  }
}

export function concerns(rule: FeedbackRule, tenant: string, type: string, device: string, metric: string): boolean {
  if (rule.tenant !== tenant || rule.type !== type || rule.metric !== metric) return false
  return rule.devices === null || rule.devices.includes(device)
}
