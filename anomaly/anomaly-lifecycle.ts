import type { AnomalyConfig } from './config.ts'
import type { MetricTrack } from './metric-track.ts'

export type Severity = 'warning' | 'critical'

export function severityOf(novelty: number, config: AnomalyConfig): Severity {
  return novelty >= config.criticalThreshold ? 'critical' : 'warning'
}

/**
 * What a reading's novelty does to the anomaly of its metric, which it updates: raises one, makes it critical (`raised` again),
 * clears it after enough normal readings in a row over enough event time, or nothing. A series that is still warming up raises nothing.
 */
export function advance(track: MetricTrack, novelty: number, tsMs: number, warm: boolean, config: AnomalyConfig): 'raised' | 'cleared' | 'none' {
  const { raised } = track
  if (raised === null) {
    if (novelty < config.alertThreshold || !warm) return 'none'
    track.raised = { severity: severityOf(novelty, config), normalReadings: 0, abnormalTs: tsMs }
    return 'raised'
  }
  if (raised.severity === 'warning' && warm && severityOf(novelty, config) === 'critical') {
    track.raised = { severity: 'critical', normalReadings: 0, abnormalTs: tsMs }
    return 'raised'
  }
  raised.normalReadings = novelty < config.normalBelow ? raised.normalReadings + 1 : 0
  // A clock that was set back counts from where it is now.
  if (novelty >= config.alertThreshold || tsMs < raised.abnormalTs) raised.abnormalTs = tsMs
  if (raised.normalReadings < config.clearAfterReadings || tsMs - raised.abnormalTs < config.clearAfterMs) return 'none'
  track.raised = null
  return 'cleared'
}
