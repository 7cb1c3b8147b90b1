import { Type, type Static } from 'typebox'

const HOUR_MS = 3_600_000

/** Settings of proposals. */
export const ProposalsConfigSchema = Type.Object(
  {
    lifetimeMs: Type.Integer({
      minimum: 1_000,
      maximum: 30 * 24 * HOUR_MS,
      default: 24 * HOUR_MS,
      description: 'ms, a second to 30 days: a proposal that nobody decided by then expires',
    }),
    silenceMs: Type.Integer({
      minimum: 60_000,
      maximum: 30 * 24 * HOUR_MS,
      default: 4 * HOUR_MS,
      description: 'ms, a minute to 30 days: how long a silence is that is proposed',
    }),
    targetsMax: Type.Integer({
      minimum: 1,
      maximum: 50,
      default: 5,
      description: 'proposals of one kind for one incident, 1 to 50: more is for people to think of',
    }),
    leaseMs: Type.Integer({
      minimum: 50,
      maximum: 600_000,
      default: 30_000,
      description: 'ms, 50 to 600000, that a process has to execute what was approved; then another one finds out what came of it',
    }),
    attemptsMax: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 10,
      description: 'tries of one execution against trouble of a store, 1 to 100; then it failed',
    }),
    sweepIntervalMs: Type.Integer({
      minimum: 20,
      maximum: 60_000,
      default: 2_000,
      description: 'ms, 20 to 60000: how often expired proposals and executions that were cut off are looked for',
    }),
    casAttemptsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 100,
      description: 'tries of one change against others at the same proposal, 1 to 10000',
    }),
    republishAfterMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 5_000,
      description: 'ms, 100 to 600000: events that may not have reached the log are appended again after so long',
    }),
    retentionMs: Type.Integer({
      minimum: 24 * HOUR_MS,
      maximum: 3_650 * 24 * HOUR_MS,
      default: 365 * 24 * HOUR_MS,
      description: 'ms, a day to ten years: settled proposals are removed after so long; the audit trail has them',
    }),
    pageItemsMax: Type.Integer({ minimum: 1, maximum: 1_000, default: 200, description: 'items one page of a list may hold, 1 to 1000' }),
  },
  { additionalProperties: false, default: {} },
)
export type ProposalsConfig = Static<typeof ProposalsConfigSchema>
