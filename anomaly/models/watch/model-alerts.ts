import { ANOMALY, type Anomaly } from '../../../contracts/anomaly.ts'
import type { ModelCheck, ModelWatch } from '../../../contracts/model.ts'
import { deviceKey } from '../../../contracts/topics.ts'
import { jsonBytes } from '../../../kernel/bytes.ts'
import type { LogMessage } from '../../../storage/event-log/event-log.ts'

/** Stands for the platform in alerts; no device can have this id. */
const PLATFORM_SUBJECT = '_platform'
const VERSION = 1
const DAY_MS = 86_400_000

interface Said {
  /** After the name of the type: `pump: …`. */
  title: string
  what: (watch: ModelWatch, why: string) => string
  remedy: string
}

/** What each check says, and what to do about it. */
const SAID: Record<ModelCheck, Said> = {
  'input-drift': {
    title: 'what its devices send has changed',
    what: ({ driftedMetric, inputDrift, rows }) =>
      `${driftedMetric ?? ''} is spread otherwise than in training: stability index ${(inputDrift ?? 0).toFixed(2)} over ${rows} rows`,
    remedy: 'Look at that metric on some devices: mend them, or train anew if this is how they are from now on.',
  },
  'score-drift': {
    title: "its model's scores have changed",
    what: ({ scoreDrift, rows }) =>
      `its scores are spread otherwise than on held-out readings: stability index ${(scoreDrift ?? 0).toFixed(2)} over ${rows} rows`,
    remedy: 'Train anew; if the alarms have become wrong, roll back.',
  },
  'alarm-rate': {
    title: 'its model raises unusually many alarms',
    what: ({ alarmRate, alarmRateLimit }) =>
      `${alarmRate ?? 0} alarms within the latest hour, where up to ${(alarmRateLimit ?? 0).toFixed(1)} are usual`,
    remedy: 'Look at the latest ones: a fault of many devices, a new release, or a model to roll back.',
  },
  precision: {
    title: 'many alarms of its model are rejected',
    what: ({ confirmed, rejected }) => `of ${confirmed + rejected} anomalies that were judged only ${confirmed} were confirmed`,
    remedy: 'Train anew with the feedback given, promote the challenger if it is better, or roll back.',
  },
  stale: {
    title: 'its model is old',
    what: ({ ageMs }) => `it was trained ${Math.round(ageMs / DAY_MS)} days ago`,
    remedy: 'Train anew, or raise models.staleAfterMs.',
  },
  refused: {
    title: 'its model cannot be used',
    what: (_watch, why) => why,
    remedy: 'The former model serves where there is one. Train anew, or roll back.',
  },
  training: {
    title: 'its model could not be trained',
    what: (_watch, why) => why,
    remedy: 'The present model goes on. Do what the reason says, and train anew.',
  },
}

export interface ModelAlert {
  tenant: string
  type: string
  version: number
  check: ModelCheck
  phase: Anomaly['phase']
  watch: ModelWatch | null
  /** Where the check itself has no figures. */
  why: string
  nowMs: number
}

/** The check's alert as alerts take it: raised when it begins, cleared when it is over. */
export function modelAlert({ tenant, type, version, check, phase, watch, why, nowMs }: ModelAlert): LogMessage {
  const { title, what, remedy } = SAID[check]
  const isRaised = phase === 'raised'
  const said = watch === null ? why : what(watch, why)
  const anomaly: Anomaly = {
    id: `model-${tenant}-${type}-${check}-${phase}-${nowMs}`,
    ...{
      tenant,
      device: PLATFORM_SUBJECT,
      type: '',
      metric: `${type}: ${title}`,
      cause: 'model-health',
      ts: nowMs,
      receivedAt: nowMs,
      phase,
    },
    ...{ score: isRaised ? 1 : 0, severity: 'warning' },
    explanation: {
      text: isRaised ? `Model ${type}@${version}: ${said}. ${remedy}` : `Model ${type}@${version}: no longer so`,
      ...{ observed: null, expected: null, low: null, high: null, contributions: isRaised ? [{ part: check, weight: 1 }] : [] },
      ...{
        detector: 'model-watch',
        detectorVersion: VERSION,
        parameters: { model: `${type}@${version}`, check },
        readingsSeen: watch?.rows ?? 0,
      },
    },
    ...{ partition: -1, offset: -1, correlationId: `model-${type}-${check}-${nowMs}` },
  }
  return { key: deviceKey(tenant, PLATFORM_SUBJECT), schema: ANOMALY, value: jsonBytes(anomaly) }
}
