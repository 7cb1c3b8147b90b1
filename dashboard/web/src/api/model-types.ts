/** Cards of the models that judge a device's metrics together, as the API answers them. Times are epoch ms. */

export type ModelState =
  'queued' | 'training' | 'cancelled' | 'failed' | 'shadow' | 'serving' | 'former' | 'trained' | 'refused' | 'retired'

/** One version of the model of a device type. */
export interface ModelCard {
  id: string
  type: string
  version: number
  state: ModelState
  trigger: string
  askedBy: string
  askedAt: number
  progress: { epoch: number; epochsMax: number; loss: number | null; trainedMs: number }
  why: string | null
  trainedAt: number | null
  dataset: {
    id: string
    fromTs: number
    toTs: number
    judgeFromTs: number
    devices: { device: string; rows: number }[]
    metrics: string[]
    learnRows: number
    judgeRows: number
    labels: string[]
    excluded: { device: string; why: string }[]
    excludedRows: number
  } | null
  figures: {
    threshold: number
    beyond: number
    loss: number
    bestEpoch: number
    backend: string
    weights: number
    windowRows: number
    sizeBytes: number
  } | null
  promotedBy: string | null
  promotedAt: number | null
  comparison: {
    against: number | null
    confirmed: number
    found: number
    foundBefore: number
    rejected: number
    repeated: number
    repeatedBefore: number
  } | null
  watch: {
    rows: number
    alarms: number
    inputDrift: number | null
    driftedMetric: string | null
    scoreDrift: number | null
    alarmRate: number | null
    alarmRateLimit: number | null
    precision: number | null
    confirmed: number
    rejected: number
    ageMs: number
    alerts: string[]
  } | null
}
