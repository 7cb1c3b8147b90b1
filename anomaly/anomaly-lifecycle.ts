import { confidenceOf } from './confidence.ts'
import type { AnomalyConfig } from './config.ts'
import type { Raised } from './metric-track.ts'

/** More likely true than not. */
const LIKELY = 0.5

export type Severity = 'warning' | 'critical'

/** From how novel it is, how likely that is true, and what it means. */
export function severityOf(novelty: number, config: AnomalyConfig): Severity {
  if (config.impact === 'low') return 'warning'
  if (config.impact === 'high' && novelty >= config.alertThreshold && confidenceOf(novelty) > LIKELY) return 'critical'
  return novelty >= config.criticalThreshold ? 'critical' : 'warning'
}

export function beginning(novelty: number, tsMs: number, config: AnomalyConfig): Raised {
  return { severity: severityOf(novelty, config), normalReadings: 0, abnormalTs: tsMs, sinceTs: tsMs, peak: novelty }
}

/**
 * What a reading's novelty does to the anomaly of its metric, which it updates: raises one, makes it critical (`raised` again),
 * clears it after enough normal readings in a row over enough event time, or nothing. A series that is still warming up raises nothing.
 */
export function advance(
  track: { raised: Raised | null },
  novelty: number,
  tsMs: number,
  warm: boolean,
  config: AnomalyConfig,
): 'raised' | 'cleared' | 'none' {
  const { raised } = track
  if (raised === null) {
    if (novelty < config.alertThreshold || !warm) return 'none'
    track.raised = beginning(novelty, tsMs, config)
    return 'raised'
  }
  if (novelty > (raised.peak ?? 0)) raised.peak = novelty
  if (raised.severity === 'warning' && warm && severityOf(novelty, config) === 'critical') {
    raised.severity = 'critical'
    raised.normalReadings = 0
    raised.abnormalTs = tsMs
    return 'raised'
  }
  raised.normalReadings = novelty < config.normalBelow ? raised.normalReadings + 1 : 0
  // A clock that was set back counts from where it is now.
  if (novelty >= config.alertThreshold || tsMs < raised.abnormalTs) raised.abnormalTs = tsMs
  if (raised.normalReadings < config.clearAfterReadings || tsMs - raised.abnormalTs < config.clearAfterMs) return 'none'
  track.raised = null
  return 'cleared'
}
