import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

/** The embedded event log (LMDB). How many partitions a topic has and how long it is kept is said per topic, by `TopicSpec`. */
export const EventLogConfigSchema = Type.Object(
  {
    messageBytesMax: Type.Integer({
      default: 1_048_576,
      minimum: 1_024,
      maximum: 16_777_216,
      description: "Bytes of one message's value, key and headers together. Apache Kafka's own default, so that what fits here fits there.",
    }),
    entryBytesMax: Type.Integer({
      default: 3_968,
      minimum: 1_024,
      maximum: 1_048_576,
      description:
        'Messages of one turn and partition are packed into entries of up to this many bytes: one page, so that any page which retention frees holds any of those that come. A larger message gets a row of pages. A consumer holds one entry per partition.',
    }),
    pendingBytesMax: Type.Integer({
      default: 67_108_864,
      minimum: 1_048_576,
      description: 'Bytes appended but not yet durable; above it append rejects, so that a slow disk cannot fill the memory.',
    }),
    commitsInFlightMax: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 3,
      description:
        'Commits at once: with two, one is written while the one before it is flushed. Each holds one of the four threads that Node has for files and cryptography.',
    }),
    mapSizeBytes: Type.Integer({
      default: 1_073_741_824,
      minimum: 1_048_576,
      maximum: 1_099_511_627_776,
      description: 'Address space mapped at the start, in bytes; it grows by itself, and it is neither memory nor disk until used.',
    }),
    diskReserveBytes: Type.Integer({
      default: 67_108_864,
      minimum: 0,
      description:
        'Appends are refused while the disk has less room than this, in bytes, and go on by themselves when it has more: some seconds of the largest load, so that the disk is never met full. 0 switches it off.',
    }),
    diskCheckMs: Type.Integer({
      default: 200,
      minimum: 10,
      maximum: 60_000,
      description: 'The room on the disk is looked at every so many ms.',
    }),
    retentionIntervalMs: Type.Integer({
      default: 5_000,
      minimum: 100,
      maximum: 3_600_000,
      description: 'Every so many ms what retention says is removed; between two runs a topic may be larger by what arrived meanwhile.',
    }),
    retentionEntriesPerCommit: Type.Integer({
      default: 1_024,
      minimum: 1,
      maximum: 10_000,
      description: 'Entries removed in one commit; more would hold up appends, which wait for the same lock.',
    }),
    wakeFallbackMs: Type.Integer({
      default: 250,
      minimum: 10,
      maximum: 60_000,
      description:
        'Consumers are woken by each commit of any thread of this process; for commits of other processes they look every so many ms.',
    }),
    lagIntervalMs: Type.Integer({
      default: 1_000,
      minimum: 50,
      maximum: 600_000,
      description: 'The lag of every consumer group is measured every so many ms.',
    }),
    stopTimeoutMs: Type.Integer({
      default: 5_000,
      minimum: 100,
      maximum: 60_000,
      description: 'Waiting appends get this long to become durable when the log stops, in ms; those that do not are rejected.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type EventLogConfig = Static<typeof EventLogConfigSchema>

/** Bounds that must fit one another. `section` is the dotted path of this section. */
export function crossCheckEventLogConfig(config: EventLogConfig, section: string): ConfigFault[] {
  if (config.messageBytesMax <= config.pendingBytesMax) return []
  return [
    {
      key: `${section}.pendingBytesMax`,
      problem: `${config.pendingBytesMax} is less than messageBytesMax, so the largest message could never be appended`,
      allowed: `at least ${config.messageBytesMax}`,
    },
  ]
}
