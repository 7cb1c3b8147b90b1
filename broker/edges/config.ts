import { Type, type Static } from 'typebox'

/** Config fragment of several edges over shared documents; the broker's config joins it under the key `edges`. */
export const edgesConfigSchema = Type.Object(
  {
    leaseMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 3_000,
      description:
        'How long, in ms, an edge may be silent before the others take over its sessions; it renews its lease three times in that time. Shorter finds a dead edge sooner, longer forgives longer pauses of a machine or of the documents engine.',
    }),
    takeoverTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 10_000,
      description:
        'How long, in ms, a CONNECT may wait for the edge that holds the device to give it up (or for its lease to end); then it is answered with CONNACK 3. Longer than a lease and the look for it.',
    }),
    releaseTimeoutMs: Type.Integer({
      minimum: 0,
      maximum: 60_000,
      default: 1_000,
      description:
        'How long, in ms, an edge that gives a device up waits for what the device has under way (publishes being made durable, its last will). What is not done by then was not acknowledged and comes again.',
    }),
    followRetryMs: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 200,
      description: 'Pause, in ms, after commands could not be read from the event log or a session could not be read or written.',
    }),
    followWaitMs: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 1_000,
      description: 'How long, in ms, one poll of the topic of commands waits for records; a record ends the wait at once.',
    }),
    followRecordsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 500,
      description: 'Records of the topic of commands handled at once.',
    }),
    adoptSeatsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 200,
      description: 'Sessions of a dead edge taken over at once. More is faster and makes devices that connect meanwhile wait longer.',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type EdgesConfig = Static<typeof edgesConfigSchema>
