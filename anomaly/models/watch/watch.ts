import type { ModelCheck, ModelWatch } from '../../../contracts/model.ts'
import type { ModelsConfig } from '../config.ts'
import type { ModelManifest } from '../model-file.ts'
import type { ObservedHour } from '../model-store.ts'
import { addObserved, nothingObserved, stabilityIndex } from '../observations.ts'

export interface WatchInput {
  manifest: ModelManifest
  /** What every process saw, of the control chart's time. */
  hours: readonly ObservedHour[]
  /** Judgements of the anomalies that this model raised. */
  confirmed: number
  rejected: number
  trainedAt: number
  nowMs: number
  config: ModelsConfig
}

/** Hours that the control chart is drawn from; older observations can go. */
export const CHART_MS = 7 * 86_400_000
/** Fewer hours tell nothing of what is usual. */
const CHART_HOURS_MIN = 12
/** Standard deviations from the mean to the limit of a control chart (Shewhart). */
const SIGMAS = 3
/** Fewer alarms in an hour are nobody's trouble. */
const ALARMS_MIN = 3

/** What the figures of a model say, and which of them want somebody's attention. */
export function watchModel({ manifest, hours, confirmed, rejected, trainedAt, nowMs, config }: WatchInput): ModelWatch {
  const seen = nothingObserved(manifest.metrics.length)
  for (const hour of hours) if (hour.hour >= nowMs - config.watchWindowMs) addObserved(seen, hour)
  const isEnough = seen.rows >= config.watchRowsMin
  const drifts = manifest.metrics.map(({ name, shares }, k) => ({ name, drift: stabilityIndex(seen.inputs[k] ?? [], shares) }))
  const worst = drifts.reduce((most, each) => (each.drift > most.drift ? each : most))
  const chart = alarmChart(hours)
  const judged = confirmed + rejected
  const watch: Omit<ModelWatch, 'alerts'> = {
    ...{ at: nowMs, rows: seen.rows, alarms: seen.alarms, confirmed, rejected },
    inputDrift: isEnough ? worst.drift : null,
    driftedMetric: isEnough ? worst.name : null,
    scoreDrift: isEnough ? stabilityIndex(seen.scores, manifest.scoreShares) : null,
    alarmRate: chart?.alarms ?? null,
    alarmRateLimit: chart?.limit ?? null,
    precision: judged >= config.labelsMin ? confirmed / judged : null,
    ageMs: Math.max(0, nowMs - trainedAt),
  }
  return { ...watch, alerts: alertsOf(watch, config) }
}

function alertsOf(watch: Omit<ModelWatch, 'alerts'>, config: ModelsConfig): ModelCheck[] {
  const wanted: Partial<Record<ModelCheck, boolean>> = {
    'input-drift': (watch.inputDrift ?? 0) > config.driftMax,
    'score-drift': (watch.scoreDrift ?? 0) > config.driftMax,
    'alarm-rate': watch.alarmRate !== null && watch.alarmRateLimit !== null && watch.alarmRate > watch.alarmRateLimit,
    precision: watch.precision !== null && watch.precision < config.precisionMin,
    stale: watch.ageMs > config.staleAfterMs,
  }
  return (Object.keys(wanted) as ModelCheck[]).filter((check) => wanted[check] === true)
}

/**
 * Alarms of the latest hour, and how many there may be: a u-chart, whose mean comes from the hours before and whose limit is as far from it as
 * counts of rare events go by chance.
 */
function alarmChart(hours: readonly ObservedHour[]): { alarms: number; limit: number } | null {
  const sums = new Map<number, { rows: number; alarms: number }>()
  for (const { hour, rows, alarms } of hours) {
    const sum = sums.get(hour) ?? { rows: 0, alarms: 0 }
    sums.set(hour, { rows: sum.rows + rows, alarms: sum.alarms + alarms })
  }
  const ordered = [...sums].sort(([a], [b]) => a - b).map(([, sum]) => sum)
  const latest = ordered.pop()
  if (latest === undefined || ordered.length < CHART_HOURS_MIN) return null
  const rows = ordered.reduce((sum, each) => sum + each.rows, 0)
  const alarms = ordered.reduce((sum, each) => sum + each.alarms, 0)
  const expected = (latest.rows * alarms) / Math.max(1, rows)
  return { alarms: latest.alarms, limit: Math.max(ALARMS_MIN, expected + SIGMAS * Math.sqrt(expected)) }
}
