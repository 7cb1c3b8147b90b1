import { Type, type Static } from 'typebox'
import { DEVICE_ID_PATTERN } from './device.ts'

/** Collection of everything that people said of anomalies and of ranges of readings. */
export const FEEDBACK_COLLECTION = 'feedback'
/** Schema of what topic `feedback` carries: the whole document, each time it is made or changes. The document is written first. */
export const FEEDBACK = 'feedback/1'

/** Whom feedback is applied to; the devices of a group are those that have the label when it is applied. */
export const FeedbackScopeSchema = Type.Union([
  Type.Object({ kind: Type.Literal('device') }, { additionalProperties: false, description: 'the device it was given on' }),
  Type.Object(
    {
      kind: Type.Literal('group'),
      label: Type.String({ minLength: 1, maxLength: 64, description: 'name of a device label' }),
      value: Type.String({ minLength: 1, maxLength: 128 }),
    },
    { additionalProperties: false, description: 'devices of the same type with this label, as they are when it is applied' },
  ),
  Type.Object({ kind: Type.Literal('fleet') }, { additionalProperties: false, description: 'every device of the same type' }),
])
export type FeedbackScope = Static<typeof FeedbackScopeSchema>

export const VERDICTS = ['confirmed', 'rejected'] as const
/** `confirmed`: this was, or these readings are, abnormal. `rejected`: this was, or these are, normal. */
export type Verdict = (typeof VERDICTS)[number]

/**
 * What an anomaly looked like when it was raised, for finding its like. Lengths in the series' own unit; an anomaly of words carries them
 * in `words` and has no shape.
 */
export const PatternSchema = Type.Object({
  /** What the latest readings lay beyond their local level, oldest first, the judged one last; 0 where that was usual. */
  shape: Type.Array(Type.Number(), { maxItems: 64 }),
  /** Shares of the score by part, adding up to 1. */
  shares: Type.Record(Type.String(), Type.Number()),
  /** The value that was judged, and the one before it, where they are words. */
  words: Type.Optional(Type.Array(Type.String(), { maxItems: 2 })),
  score: Type.Number(),
})
export type Pattern = Static<typeof PatternSchema>

/** What became of an anomaly, known when it is over. */
export const AnomalyEventSchema = Type.Object({
  durationMs: Type.Integer({ description: 'how long it was abnormal, ms of event time' }),
  peakScore: Type.Number(),
  course: Type.Array(Type.Number(), {
    maxItems: 64,
    description: 'what the readings after the first lay beyond their local level, oldest first; 0 where that was usual',
  }),
})
export type AnomalyEvent = Static<typeof AnomalyEventSchema>

export const FEEDBACK_STATES = ['given', 'applied', 'undone', 'withdrawn'] as const
/**
 * `given`: it counts as a label and changes no detector; `applied`: detectors go by it; `undone`: they no longer do, it is still a label;
 * `withdrawn`: it counts for nothing.
 */
export type FeedbackState = (typeof FEEDBACK_STATES)[number]

/** What a replay of stored readings says that applying it would change. */
export const FeedbackPreviewSchema = Type.Object({
  state: Type.Union([Type.Literal('running'), Type.Literal('done'), Type.Literal('failed')]),
  startedAt: Type.Integer({ description: 'epoch ms' }),
  finishedAt: Type.Union([Type.Integer(), Type.Null()]),
  /** Why it failed; empty otherwise. */
  problem: Type.String(),
  /** Series (a metric of a device) replayed, of how many; readings replayed. */
  seriesDone: Type.Integer(),
  seriesTotal: Type.Integer(),
  readings: Type.Integer(),
  /** True where a bound left out devices or older readings. */
  partial: Type.Boolean(),
  alarmsBefore: Type.Integer({ description: 'alarms raised in the replay without it' }),
  alarmsRemoved: Type.Integer({ description: 'of those, not raised with it' }),
  alarmsAdded: Type.Integer({ description: 'raised with it alone' }),
  trueAlarmsLost: Type.Integer({ description: 'labelled abnormal ranges that had an alarm without it and have none with it' }),
  abnormalRanges: Type.Integer({ description: 'labelled abnormal ranges within what was replayed' }),
  delayMs: Type.Integer({
    description: 'mean delay that it adds to the first alarm of a labelled range, ms of event time; below 0: sooner',
  }),
})
export type FeedbackPreview = Static<typeof FeedbackPreviewSchema>

/**
 * One judgement: of an anomaly, or of a range of readings. Every document that is not `withdrawn` is a label: `confirmed` ranges are
 * abnormal, `rejected` ones normal, whether or not it was applied.
 */
export const FeedbackSchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  device: Type.String({ pattern: DEVICE_ID_PATTERN }),
  type: Type.String(),
  metric: Type.String({ description: 'empty: the whole device' }),
  /** Event time, epoch ms, both included. */
  fromTs: Type.Integer(),
  toTs: Type.Integer(),
  verdict: Type.Unsafe<Verdict>({ type: 'string', enum: [...VERDICTS] }),
  cause: Type.String({ description: 'what was wrong, in the words of whoever said it; empty: not said' }),
  note: Type.String(),
  /** The anomaly that it judges; null: a range that somebody marked. */
  anomaly: Type.Union([Type.String(), Type.Null()]),
  scope: FeedbackScopeSchema,
  /** Null where there is nothing to find the like of: such feedback is a label only. */
  pattern: Type.Union([PatternSchema, Type.Null()]),
  event: Type.Union([AnomalyEventSchema, Type.Null()], { description: 'null: it was not over, or is not known' }),
  state: Type.Unsafe<FeedbackState>({ type: 'string', enum: [...FEEDBACK_STATES] }),
  /** Number of the change by which it was applied, or undone; null before. */
  change: Type.Union([Type.Integer(), Type.Null()]),
  preview: Type.Union([FeedbackPreviewSchema, Type.Null()]),
  by: Type.String(),
  at: Type.Integer({ description: 'epoch ms' }),
  updatedAt: Type.Integer({ description: 'epoch ms' }),
})
export type Feedback = Static<typeof FeedbackSchema>

/** Indexes of the collection, the same for whoever opens it. */
export const FEEDBACK_INDEXES = [
  { name: 'by-tenant', paths: ['tenant', '_id'] },
  { name: 'by-device', paths: ['tenant', 'device', 'fromTs'] },
  { name: 'by-type', paths: ['tenant', 'type', 'metric', 'fromTs'] },
  { name: 'by-anomaly', paths: ['tenant', 'anomaly'] },
] as const
