import { Type, type Static } from 'typebox'

const DAY_MS = 86_400_000

/** Settings of what agents keep between conversations. */
export const MemoryConfigSchema = Type.Object(
  {
    ttlMs: Type.Integer({
      minimum: DAY_MS,
      maximum: 3_650 * DAY_MS,
      default: 365 * DAY_MS,
      description: 'ms, a day to ten years: what an agent keeps is forgotten after so long',
    }),
    entriesMax: Type.Integer({
      minimum: 10,
      maximum: 1_000_000,
      default: 10_000,
      description: 'entries of one agent of a tenant, 10 to a million; then the oldest are forgotten',
    }),
    perDeviceMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 100,
      description: 'entries about one device, 1 to 10000; then its oldest are forgotten',
    }),
    recalledMax: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 5,
      description: 'statements that are recalled in one conversation, 1 to 100; of resolutions ten times as many are counted',
    }),
    sweepIntervalMs: Type.Integer({
      minimum: 1_000,
      maximum: DAY_MS,
      default: 600_000,
      description: 'ms, 1000 to a day: how often what is over its time is forgotten',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type MemoryConfig = Static<typeof MemoryConfigSchema>
