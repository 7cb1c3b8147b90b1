import type { Feedback } from '../../../contracts/feedback.ts'
import type { ModelCard } from '../../../contracts/model.ts'
import type { ModelsConfig } from '../config.ts'
import type { CardDocument, ModelLine } from '../model-store.ts'

export interface RetrainingInput {
  line: ModelLine
  /** Newest first. */
  cards: readonly CardDocument[]
  labels: readonly Feedback[]
  nowMs: number
  config: ModelsConfig
}

/** Should a type that is to be trained without being asked be trained the first time now? Tried again after a pause where that failed. */
export function firstTrainingDue({
  line,
  cards,
  nowMs,
  config,
}: Omit<RetrainingInput, 'labels' | 'line'> & { line: ModelLine | null }): boolean {
  const [latest] = cards
  if ((line !== null && line.training !== null) || cards.some(({ trainedAt }) => trainedAt !== null)) return false
  return latest === undefined || nowMs - latest.askedAt >= config.retrainGapMs
}

/**
 * Why a type should be trained anew now, or null. Never the first time (`firstTrainingDue`); never while one is on its way, nor soon
 * after the last one, however it ended.
 */
export function retrainingDue({ line, cards, labels, nowMs, config }: RetrainingInput): ModelCard['trigger'] | null {
  const [latest] = cards
  const trained = cards.find(({ trainedAt }) => trainedAt !== null)
  if (line.training !== null || latest === undefined || trained === undefined || nowMs - latest.askedAt < config.retrainGapMs) return null
  const serving = cards.find(({ number }) => number === line.champion)
  if (serving?.watch?.alerts.includes('input-drift') === true) return 'drift'
  const readAt = trained.dataset?.readAt ?? 0
  if (config.retrainLabels > 0 && labels.filter(({ updatedAt }) => updatedAt > readAt).length >= config.retrainLabels) return 'feedback'
  return config.retrainEveryMs > 0 && nowMs - latest.askedAt >= config.retrainEveryMs ? 'schedule' : null
}
