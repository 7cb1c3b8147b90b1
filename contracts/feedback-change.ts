import type { AnomalyEvent, Pattern, Verdict } from './feedback.ts'

/** Collection of the changes to what detectors go by, in the order of their numbers. */
export const FEEDBACK_CHANGES_COLLECTION = 'feedback-changes'
/** Collection of where, in the readings topic, which of them began to hold. */
export const FEEDBACK_ADOPTIONS_COLLECTION = 'feedback-adoptions'

/** Feedback as detectors go by it: which anomalies of which devices it is about, and what becomes of their like. */
export interface FeedbackRule {
  /** Id of the feedback. */
  readonly id: string
  readonly tenant: string
  readonly type: string
  readonly metric: string
  /** Null: every device of the type. */
  readonly devices: readonly string[] | null
  readonly verdict: Verdict
  readonly pattern: Pattern
  /** What became of the event that was judged; null where it was not over. */
  readonly event: AnomalyEvent | null
}

/** One version of what detectors go by: that before it, and this. Numbers have no gaps; a change is never altered. */
export interface FeedbackChange {
  number: number
  tenant: string
  /** Id of the feedback. */
  feedback: string
  /** Null: it is undone. */
  rule: FeedbackRule | null
  by: string
  at: number
}
