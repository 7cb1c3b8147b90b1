import { Type, type Static } from 'typebox'

/**
 * `queued`, `training`, `cancelled`, `failed`: on its way. `shadow`: scores and is not listened to. `serving`: its anomalies count. `former`:
 * served before, one step away. `trained`: kept, in no use. `refused`: its file is damaged, unsigned or of another shape. `retired`: its file
 * is gone.
 */
export const MODEL_STATES = [
  'queued',
  'training',
  'cancelled',
  'failed',
  'shadow',
  'serving',
  'former',
  'trained',
  'refused',
  'retired',
] as const
export type ModelState = (typeof MODEL_STATES)[number]

/** What is watched of a model; each may have an alert of its own. */
export const MODEL_CHECKS = ['input-drift', 'score-drift', 'alarm-rate', 'precision', 'stale', 'refused', 'training'] as const
export type ModelCheck = (typeof MODEL_CHECKS)[number]

const NumberOrNull = Type.Union([Type.Number(), Type.Null()])
const TimeOrNull = Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms' })

/** Which readings a model learnt, and which not. */
export const ModelDatasetSchema = Type.Object({
  id: Type.String(),
  fromTs: Type.Integer({ description: 'event time, epoch ms; inclusive' }),
  toTs: Type.Integer({ description: 'exclusive' }),
  readAt: Type.Integer({ description: 'when it was read from the series store, epoch ms' }),
  positions: Type.Record(Type.String(), Type.Integer(), {
    description: 'next offset to be stored, by partition of the readings topic: what came later is not in it',
  }),
  devices: Type.Array(Type.Object({ device: Type.String(), rows: Type.Integer(), fromTs: Type.Integer(), toTs: Type.Integer() }), {
    description: 'windows taken of each',
  }),
  metrics: Type.Array(Type.String()),
  learnRows: Type.Integer(),
  judgeRows: Type.Integer({ description: 'the later ones, held out' }),
  judgeFromTs: Type.Integer(),
  labels: Type.Array(Type.String(), { description: 'feedback that was known' }),
  excluded: Type.Array(
    Type.Object({ device: Type.String(), fromTs: Type.Integer(), toTs: Type.Integer(), why: Type.String(), id: Type.String() }),
    {
      description: 'kept out of normal: confirmed or unjudged anomalies',
    },
  ),
  excludedRows: Type.Integer(),
  sha256: Type.String({ description: 'of the windows' }),
})
export type ModelDataset = Static<typeof ModelDatasetSchema>

/** What monitoring last saw of a model. */
export const ModelWatchSchema = Type.Object({
  at: Type.Integer({ description: 'epoch ms' }),
  rows: Type.Integer({ description: 'rows scored in the window that is watched' }),
  alarms: Type.Integer(),
  inputDrift: NumberOrNull,
  driftedMetric: Type.Union([Type.String(), Type.Null()]),
  scoreDrift: NumberOrNull,
  alarmRate: NumberOrNull,
  alarmRateLimit: NumberOrNull,
  precision: NumberOrNull,
  confirmed: Type.Integer(),
  rejected: Type.Integer(),
  ageMs: Type.Integer(),
  alerts: Type.Array(Type.Unsafe<ModelCheck>({ type: 'string', enum: [...MODEL_CHECKS] })),
})
export type ModelWatch = Static<typeof ModelWatchSchema>

/** One version of the model of one device type, with all that is known of it. */
export const ModelCardSchema = Type.Object({
  id: Type.String({ description: 'TYPE@VERSION' }),
  tenant: Type.String(),
  type: Type.String(),
  version: Type.Integer({ minimum: 1 }),
  state: Type.Unsafe<ModelState>({ type: 'string', enum: [...MODEL_STATES] }),
  trigger: Type.Union([Type.Literal('operator'), Type.Literal('schedule'), Type.Literal('drift'), Type.Literal('feedback')], {
    description: 'why it was trained',
  }),
  askedBy: Type.String(),
  askedAt: Type.Integer({ description: 'epoch ms' }),
  seed: Type.Integer(),
  progress: Type.Object({
    epoch: Type.Integer(),
    epochsMax: Type.Integer(),
    loss: NumberOrNull,
    trainedMs: Type.Integer({ description: 'time spent so far' }),
  }),
  why: Type.Union([Type.String(), Type.Null()], { description: 'why it failed, was refused or ended early' }),
  trainedAt: TimeOrNull,
  dataset: Type.Union([ModelDatasetSchema, Type.Null()]),
  figures: Type.Union([
    Type.Null(),
    Type.Object({
      threshold: Type.Number({ description: 'joint error; chosen on the held-out readings' }),
      beyond: Type.Number({ description: 'share of the held-out windows beyond it' }),
      loss: Type.Number({ description: 'mean squared error on them' }),
      bestEpoch: Type.Integer(),
      backend: Type.String(),
      weights: Type.Integer(),
      windowRows: Type.Integer(),
      sizeBytes: Type.Integer(),
    }),
  ]),
  promotedBy: Type.Union([Type.String(), Type.Null()]),
  promotedAt: TimeOrNull,
  comparison: Type.Union(
    [
      Type.Null(),
      Type.Object({
        at: Type.Integer(),
        against: Type.Union([Type.Integer(), Type.Null()], { description: 'version of the model that served; null: none did' }),
        confirmed: Type.Integer({ description: 'labelled anomalies' }),
        found: Type.Integer(),
        foundBefore: Type.Integer({ description: 'by the other' }),
        rejected: Type.Integer({ description: 'labelled false alarms' }),
        repeated: Type.Integer(),
        repeatedBefore: Type.Integer(),
        better: Type.Boolean(),
      }),
    ],
    { description: 'both models over the labelled feedback' },
  ),
  watch: Type.Union([ModelWatchSchema, Type.Null()]),
})
export type ModelCard = Static<typeof ModelCardSchema>

/** `typ` of the signature of a model's file. */
export const MODEL_FILE = 'fleetpulse-model+jws'
