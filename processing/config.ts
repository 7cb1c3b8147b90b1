import { Type, type Static } from 'typebox'

/** The loop over readings: batch sizes, flush times and what is kept in memory. Windows have their own section. */
export const ProcessingConfigSchema = Type.Object(
  {
    pollRecordsMax: Type.Integer({
      default: 4_096,
      minimum: 1,
      maximum: 65_536,
      description: 'Readings taken from the log at once; larger batches cost less per reading and hold more memory.',
    }),
    sliceReadingsMax: Type.Integer({
      default: 128,
      minimum: 1,
      maximum: 65_536,
      description:
        'Readings applied before everything else of the thread (alerts, agents, the API) has its turn, some 20 µs each where the processor is free: larger slices save nothing and delay others.',
    }),
    pollWaitMs: Type.Integer({
      default: 250,
      minimum: 1,
      maximum: 10_000,
      description: 'How long a poll waits for the first reading, in ms; it also bounds how late a stop is noticed.',
    }),
    rejectedPollMs: Type.Integer({
      default: 50,
      minimum: 1,
      maximum: 10_000,
      description: 'How often new rejected readings are looked for, in ms; with ledgerFlushMs it bounds how late the ledger knows of them.',
    }),
    rejectedReadMax: Type.Integer({
      default: 500,
      minimum: 1,
      maximum: 10_000,
      description: 'Rejected readings taken from one partition at once: they carry their payload.',
    }),
    seriesFlushRows: Type.Integer({
      default: 20_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Rows gathered before they are written to the series store.',
    }),
    seriesFlushMs: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 10_000,
      description:
        'Longest time a row waits to be written, in ms: publish to queryable is at least this under low load. 0 = what suits the store: 100 on duckdb, 250 on questdb, which spends half the processor time on rows that come in larger writes.',
    }),
    offsetCommitMs: Type.Integer({
      default: 250,
      minimum: 1,
      maximum: 60_000,
      description: 'Offsets without outputs are committed this often, in ms; outputs are committed at once.',
    }),
    checkpointMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 600_000,
      description:
        'States that changed are saved this often, in ms, and in a large fleet as soon as the last time is done; a restart replays the readings since the last save but one began.',
    }),
    checkpointShareMax: Type.Number({
      default: 0.02,
      minimum: 0.001,
      maximum: 1,
      description:
        'Largest part of the time that saving states may take, evenly, so that a reading costs the same in a large fleet: with 0.02 some 200 devices a second, 100 000 in about ten minutes. More makes a restart after a crash shorter.',
    }),
    tickMs: Type.Integer({
      default: 1_000,
      minimum: 50,
      maximum: 60_000,
      description: 'How often wall time is given to operators (idle windows, silence), in ms.',
    }),
    ledgerFlushMs: Type.Integer({ default: 200, minimum: 10, maximum: 250, description: 'The fleet ledger is at most this old, in ms.' }),
    devicesInMemoryMax: Type.Integer({
      default: 200_000,
      minimum: 1,
      maximum: 10_000_000,
      description:
        'Device states held in memory, about 20 KB each for two metrics, half of it with anomaly.ensemble off; beyond it those held for longest are saved and dropped until their next reading. When such a device falls silent, or its open windows are to close, it is read again for that (devicesSpilledMax).',
    }),
    devicesSpilledMax: Type.Integer({
      default: 1_000_000,
      minimum: 1,
      maximum: 10_000_000,
      description:
        'Devices beyond devicesInMemoryMax whose time is kept, some 130 bytes each; up to 500 are read in a tick, the earliest first. Beyond it a device raises no silence and its open windows stay open until it speaks again (processing_devices_spilled_beyond). A limit of silence that is lowered or set meanwhile holds from its next reading on.',
    }),
    bootsPerDeviceMax: Type.Integer({
      default: 8,
      minimum: 1,
      maximum: 1_024,
      description: 'Boots per device whose sequence ranges are held; readings of older boots are compared with the store instead.',
    }),
    sequenceRangesMax: Type.Integer({
      default: 256,
      minimum: 2,
      maximum: 65_536,
      description:
        'Ranges of received sequence numbers per boot; with more gaps than that the oldest two are joined, and the join is counted.',
    }),
    retryInitialMs: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 60_000,
      description: 'First wait after a store refused a write, in ms.',
    }),
    retryMaxMs: Type.Integer({ default: 5_000, minimum: 1, maximum: 600_000, description: 'Longest wait between tries, in ms.' }),
  },
  { additionalProperties: false, default: {} },
)
export type ProcessingConfig = Static<typeof ProcessingConfigSchema>
