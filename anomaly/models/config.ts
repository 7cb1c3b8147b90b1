import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

const DAY_MS = 86_400_000

/** Settings of the models that judge a device's metrics together. */
export const ModelsConfigSchema = Type.Object(
  {
    backend: Type.Union([Type.Literal('auto'), Type.Literal('wasm'), Type.Literal('cpu'), Type.Literal('tensorflow')], {
      default: 'auto',
      description:
        'what calculates: wasm everywhere, tensorflow needs the package @tensorflow/tfjs-node, cpu is plain JavaScript; auto takes tensorflow where it is installed and wasm elsewhere',
    }),
    everyMs: Type.Integer({
      default: 1_000,
      minimum: 1,
      maximum: DAY_MS,
      description:
        'ms of event time, 1 to a day, between two rows of a device that a newly trained model judges: a second keeps fast devices cheap',
    }),
    windowRows: Type.Integer({
      default: 4,
      minimum: 1,
      maximum: 32,
      description: 'rows, 1 to 32, that a newly trained model judges together: more see slower shapes and cost more',
    }),
    metricsMax: Type.Integer({
      default: 16,
      minimum: 2,
      maximum: 64,
      description: 'metrics of a type, 2 to 64, that a model judges; where there are more, those that most devices send',
    }),
    refreshMs: Type.Integer({
      default: 2_000,
      minimum: 50,
      maximum: 600_000,
      description: 'ms, 50 to ten minutes, after which a promotion or rollback is seen by every process',
    }),
    trainingDays: Type.Integer({
      default: 14,
      minimum: 1,
      maximum: 366,
      description: 'days of stored readings, 1 to 366, that a model learns from and is judged by; the last fifth is held out',
    }),
    trainingRowsMax: Type.Integer({
      default: 20_000,
      minimum: 200,
      maximum: 1_000_000,
      description: 'windows of readings, 200 to a million, in one training: bounds its memory, 4 bytes a figure, and its time',
    }),
    trainingRowsMin: Type.Integer({
      default: 500,
      minimum: 50,
      maximum: 1_000_000,
      description: 'windows, 50 to a million, without which nothing is trained: fewer tell nothing of what is normal',
    }),
    trainingDevicesMax: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 10_000,
      description: 'devices of a type, 1 to 10000, whose readings are taken, drawn by the seed: bounds what is read from the series store',
    }),
    epochsMax: Type.Integer({
      default: 60,
      minimum: 1,
      maximum: 10_000,
      description: 'rounds, 1 to 10000, through the windows; ends sooner when nothing is gained',
    }),
    trainingTimeMs: Type.Integer({
      default: 1_800_000,
      minimum: 100,
      maximum: DAY_MS,
      description: 'ms, a tenth of a second to a day, that one training may take; what is best by then is kept',
    }),
    trainingMemoryMb: Type.Integer({
      default: 256,
      minimum: 32,
      maximum: 65_536,
      description: 'MiB, 32 to 65536, that its process may take for what it calculates with; a training that needs more fails and says so',
    }),
    trainingWorkMs: Type.Integer({
      default: 5,
      minimum: 1,
      maximum: 10_000,
      description:
        'ms, 1 to ten seconds, that a training works at a time before it rests: a step of some ms, or the answer of the store, is finished first',
    }),
    trainingShare: Type.Number({
      default: 0.2,
      minimum: 0.05,
      maximum: 1,
      description:
        'share of a core, 0.05 to 1, that a training takes, while it reads as while it learns: the rest of the time it rests, so that the road is not slowed',
    }),
    trainingNice: Type.Integer({
      default: 19,
      minimum: 0,
      maximum: 19,
      description:
        'niceness, 0 to 19, of every thread of a training: 19, the lowest priority there is, leaves it what nobody else wants; a machine that is never idle may need less, or no training ends',
    }),
    checkpointEveryMs: Type.Integer({
      default: 5_000,
      minimum: 0,
      maximum: DAY_MS,
      description:
        'ms, up to a day, between two epochs that a training keeps to go on from when it was cut off; 0 = every one: the road waits for the disk meanwhile',
    }),
    thresholdQuantile: Type.Number({
      default: 0.995,
      minimum: 0.5,
      maximum: 1,
      description: 'share of the held-out windows, 0.5 to 1, whose error lies below the threshold before its margin',
    }),
    thresholdMargin: Type.Number({
      default: 1.5,
      minimum: 1,
      maximum: 10,
      description: 'times, 1 to 10, that error: what comes is more varied than what was held out',
    }),
    seed: Type.Integer({
      default: 1,
      minimum: 0,
      maximum: 2_147_483_647,
      description: 'of the first weights, the order and the devices drawn: the same readings and seed give the same model',
    }),
    leaseMs: Type.Integer({
      default: 30_000,
      minimum: 1_000,
      maximum: 3_600_000,
      description: 'ms, a second to an hour, after which another process takes the training and watching over from one that is gone',
    }),
    watchEveryMs: Type.Integer({
      default: 60_000,
      minimum: 100,
      maximum: DAY_MS,
      description: 'ms, 0.1 s to a day, between two looks at the models in use',
    }),
    watchWindowMs: Type.Integer({
      default: DAY_MS,
      minimum: 60_000,
      maximum: 90 * DAY_MS,
      description: 'ms, a minute to 90 days, of the rows that drift is told from: a day, so that its hours do not look like drift',
    }),
    watchRowsMin: Type.Integer({
      default: 2_000,
      minimum: 10,
      maximum: 100_000_000,
      description: 'rows, 10 to a hundred million, before drift is told: fewer are chance',
    }),
    driftMax: Type.Number({
      default: 0.5,
      minimum: 0.01,
      maximum: 100,
      description:
        'population stability index, 0.01 to 100, of a metric or of the scores from which on they drifted; 0.25 is commonly called a large change',
    }),
    precisionMin: Type.Number({
      default: 0.5,
      minimum: 0,
      maximum: 1,
      description: "share, 0 to 1, of a model's judged anomalies that must be confirmed",
    }),
    labelsMin: Type.Integer({
      default: 5,
      minimum: 1,
      maximum: 100_000,
      description: 'judgements, 1 to 100000, before they count for precision or promotion',
    }),
    staleAfterMs: Type.Integer({
      default: 30 * DAY_MS,
      minimum: 60_000,
      maximum: 3_650 * DAY_MS,
      description: 'ms, a minute to ten years, after which a serving model is called stale',
    }),
    retrainEveryMs: Type.Integer({
      default: 7 * DAY_MS,
      minimum: 0,
      maximum: 3_650 * DAY_MS,
      description: 'ms, up to ten years, after which a type that has a model is trained anew; 0 = never by schedule',
    }),
    trainFirst: Type.Array(Type.String({ minLength: 1, maxLength: 129, description: 'device type, or tenant/type' }), {
      default: [],
      maxItems: 1_000,
      description:
        'device types, at most 1000, of tenant `default` or written tenant/type, that get their first model without being asked, and are tried again each retrainGapMs until there is one; others are trained the first time by an operator',
    }),
    retrainGapMs: Type.Integer({
      default: DAY_MS,
      minimum: 1_000,
      maximum: 365 * DAY_MS,
      description: 'ms, a second to a year, between two trainings of a type that nobody asked for',
    }),
    retrainLabels: Type.Integer({
      default: 50,
      minimum: 0,
      maximum: 1_000_000,
      description: 'new judgements, up to a million, after which a type is trained anew; 0 = never for them',
    }),
    shadowMs: Type.Integer({
      default: DAY_MS,
      minimum: 0,
      maximum: 365 * DAY_MS,
      description: 'ms, up to a year, that a challenger stays in shadow before it may be promoted by itself',
    }),
    promoteItself: Type.Boolean({
      default: true,
      description: 'true or false: whether a challenger that is better on the labelled feedback is promoted without an operator',
    }),
    versionsKept: Type.Integer({
      default: 20,
      minimum: 2,
      maximum: 10_000,
      description: 'versions of a type, 2 to 10000, whose cards are kept; unused ones beyond go, oldest first',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type ModelsConfig = Static<typeof ModelsConfigSchema>

/** Settings that are each allowed but do not go together. */
export function modelsConfigFaults(config: ModelsConfig, path = 'models'): ConfigFault[] {
  const faults: ConfigFault[] = []
  if (config.trainingRowsMin > config.trainingRowsMax)
    faults.push({ key: `${path}.trainingRowsMin`, problem: 'is above trainingRowsMax', allowed: `from 50 to ${config.trainingRowsMax}` })
  const bytes = config.trainingRowsMax * config.windowRows * config.metricsMax * 4
  if (bytes > config.trainingMemoryMb * 1_048_576)
    faults.push({
      key: `${path}.trainingRowsMax`,
      problem: `needs ${Math.ceil(bytes / 1_048_576)} MiB with windowRows and metricsMax, more than trainingMemoryMb`,
      allowed: 'fewer rows, or more memory',
    })
  return faults
}
