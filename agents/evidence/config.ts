import { Type, type Static } from 'typebox'

/** Bounds of what a digest rests on. */
export const EvidenceConfigSchema = Type.Object(
  {
    readingsMax: Type.Integer({
      minimum: 60,
      maximum: 20_000,
      default: 900,
      description:
        'readings, 60 to 20000, before an incident and as many after it that are looked at per device: a quarter of an hour at one a second, three days at one in five minutes; more would cost a digest its second',
    }),
    lookbackMs: Type.Integer({
      minimum: 60_000,
      maximum: 2_592_000_000,
      default: 604_800_000,
      description: 'ms, a minute to 30 days: older readings say nothing about what is usual now',
    }),
    readingsUsualMin: Type.Integer({
      minimum: 5,
      maximum: 1_000,
      default: 30,
      description: 'readings, 5 to 1000, without which nobody knows what is usual: then no check of values says anything',
    }),
    readingsAfterMin: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 12,
      description: 'readings, 1 to 1000, since the incident began, without which a spike cannot be told from what lasts',
    }),
    peersMax: Type.Integer({
      minimum: 0,
      maximum: 100,
      default: 8,
      description: 'devices of the same type, up to 100, that are compared: each is one more query',
    }),
    metricsMax: Type.Integer({
      minimum: 0,
      maximum: 100,
      default: 8,
      description: 'other metrics of the device, up to 100, that are compared',
    }),
    alertsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 200,
      description: 'alerts of the incident, 1 to 10000, that are counted; more are said to be at least so many',
    }),
    changesMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 50,
      description: 'changes of the device and its type, 1 to 1000, that are looked at',
    }),
    changesBeforeMs: Type.Integer({
      minimum: 60_000,
      maximum: 604_800_000,
      default: 3_600_000,
      description: 'ms, a minute to a week: a change so long before the incident may have to do with it',
    }),
    historyMax: Type.Integer({
      minimum: 0,
      maximum: 10_000,
      default: 200,
      description: 'incidents of before, up to 10000, that are compared',
    }),
    similarFrom: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.9,
      description: 'cosine of two incidents’ features, 0 to 1, from which one is called similar to the other',
    }),
    checkTimeoutMs: Type.Integer({
      minimum: 50,
      maximum: 60_000,
      default: 2_000,
      description: 'ms, 50 to 60000, that one check may take: what takes longer is said not to have been checked',
    }),
    looksInFlightMax: Type.Integer({
      minimum: 1,
      maximum: 256,
      default: 4,
      description:
        'incidents that one process looks at, or verifies a digest of, at a time, 1 to 256: more at once would all take too long, and say that they could not check',
    }),
    verifyTimeoutMs: Type.Integer({
      minimum: 50,
      maximum: 120_000,
      default: 5_000,
      description: 'ms, 50 to 120000, that verifying one draft may take: a draft that is not verified by then is not published',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type EvidenceConfig = Static<typeof EvidenceConfigSchema>
