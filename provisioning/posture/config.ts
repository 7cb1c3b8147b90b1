import { Type, type Static } from 'typebox'

const DAY_MS = 86_400_000

/** When the fleet is checked, and from when on something is a weakness. */
export const PostureConfigSchema = Type.Object(
  {
    hourUtc: Type.Integer({ default: 2, minimum: 0, maximum: 23, description: 'Hour of the day, UTC, from which the nightly check runs.' }),
    checkIntervalMs: Type.Integer({
      default: 300_000,
      minimum: 1_000,
      maximum: 3_600_000,
      description: "ms between looks at whether the night's check is due.",
    }),
    alerts: Type.Boolean({
      default: true,
      description: 'Critical and high findings open an alert, which resolves when they are over or suppressed.',
    }),
    caWarningDays: Type.Integer({
      default: 180,
      minimum: 1,
      maximum: 3_650,
      description:
        'A CA certificate that ends within so many days is a finding; critical within a quarter of that. Half a year: devices have to learn a new one.',
    }),
    keyAgeDaysMax: Type.Integer({
      default: 730,
      minimum: 1,
      maximum: 10_000,
      description:
        'A device key that is in use for longer was never rotated, whether its certificate was renewed or not. Two lifetimes of the default certificate.',
    }),
    seenWindowDays: Type.Integer({
      default: 30,
      minimum: 1,
      maximum: 3_650,
      description: 'A revoked or shared certificate that was not seen for so many days is no longer a finding.',
    }),
    sharedWindowMs: Type.Integer({
      default: 3_600_000,
      minimum: 1_000,
      maximum: 7 * DAY_MS,
      description: 'Time in which the addresses of one certificate are compared, in ms.',
    }),
    sharedReturnsMin: Type.Integer({
      default: 3,
      minimum: 1,
      maximum: 100,
      description:
        'A certificate that within that time so often comes back to an address that it had left for another is used in several places. A device that moves changes its address without going back.',
    }),
    pollRecordsMax: Type.Integer({ default: 500, minimum: 1, maximum: 10_000, description: 'Device events taken from the log at once.' }),
    pollWaitMs: Type.Integer({ default: 1_000, minimum: 10, maximum: 60_000, description: 'A poll without events ends after so many ms.' }),
    retryMs: Type.Integer({
      default: 200,
      minimum: 10,
      maximum: 60_000,
      description: 'Pause after the log or the documents could not be read, in ms.',
    }),
    resolvedKeptDays: Type.Integer({
      default: 90,
      minimum: 1,
      maximum: 3_650,
      description: 'Days for which findings that are over are kept.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type PostureConfig = Static<typeof PostureConfigSchema>
