export type FeedbackScope = { kind: 'device' } | { kind: 'group'; label: string; value: string } | { kind: 'fleet' }

/** What a replay of stored readings says that applying feedback would change. */
export interface FeedbackPreview {
  state: 'running' | 'done' | 'failed'
  problem: string
  seriesDone: number
  seriesTotal: number
  readings: number
  partial: boolean
  alarmsBefore: number
  alarmsRemoved: number
  alarmsAdded: number
  trueAlarmsLost: number
  abnormalRanges: number
  delayMs: number
}

export interface Feedback {
  id: string
  verdict: 'confirmed' | 'rejected'
  state: 'given' | 'applied' | 'undone' | 'withdrawn'
  cause: string
  scope: FeedbackScope
  /** Null: it is a label only. */
  pattern: object | null
  change: number | null
  preview: FeedbackPreview | null
  by: string
  at: number
}
