import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

/** Settings of the series store on DuckDB. */
export const SeriesConfigSchema = Type.Object(
  {
    memoryLimitMb: Type.Integer({
      default: 256,
      minimum: 128,
      maximum: 1_048_576,
      description:
        'MiB that DuckDB may hold for caches, unwritten rows and queries; larger queries spill to disk. Below 128 a checkpoint may not fit.',
    }),
    threads: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 256,
      description:
        'Threads of one query or checkpoint. Each query has its own thread anyway; a second one here costs a fifth more processor time per stored row.',
    }),
    checkpointThresholdMb: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 4096,
      description:
        'MiB of write-ahead log after which a commit folds it into the database file. Larger: fewer pauses, more memory and a longer start after a crash.',
    }),
    spillMaxMb: Type.Integer({
      default: 1024,
      minimum: 0,
      maximum: 1_048_576,
      description: 'MiB of temporary files that queries may spill beside the database, so that one query cannot fill the disk.',
    }),
    columnsMax: Type.Integer({
      default: 512,
      minimum: 1,
      maximum: 4096,
      description:
        'Metric columns of one device type. A wide table gets slow and large; ingest refuses further metrics before this is reached.',
    }),
    openColumnsMax: Type.Integer({
      default: 2048,
      minimum: 64,
      maximum: 65_536,
      description: 'Columns kept ready for appending over all device types, least recently used first out; each takes about 36 KiB.',
    }),
    writeQueueMax: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 10_000,
      description:
        'Writes and retention steps waiting for the one writer; a caller that does not wait for its writes is refused beyond it.',
    }),
    readConnections: Type.Integer({
      default: 4,
      minimum: 1,
      maximum: 16,
      description:
        'Queries running at once. Each holds one of the threads of libuv’s pool (UV_THREADPOOL_SIZE, eight unless it is set), which the writer and all commits need too: half of them at most.',
    }),
    readQueueMax: Type.Integer({
      default: 256,
      minimum: 0,
      maximum: 100_000,
      description: 'Queries waiting for a connection; further ones are refused, so that memory stays bounded under a storm of requests.',
    }),
    queryTimeoutMs: Type.Integer({
      default: 10_000,
      minimum: 10,
      maximum: 600_000,
      description: 'Milliseconds after which a query is interrupted, because it takes processor time from the writer.',
    }),
    rangeLimitMax: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 100_000,
      description: 'Readings of one page; a larger limit gets a page of this size and a cursor for the rest.',
    }),
    bucketsMax: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Non-empty buckets of one downsampled answer; wider ones must be asked for beyond it.',
    }),
    retentionSliceRows: Type.Integer({
      default: 250_000,
      minimum: 1,
      maximum: 10_000_000,
      description: 'Rows that retention removes in one transaction; writes get their turn in between.',
    }),
  },
  { additionalProperties: false },
)

export type SeriesConfig = Static<typeof SeriesConfigSchema>

/** Columns that every table has beside its metrics. */
const FIXED_COLUMNS = 8

/** Bounds that must fit one another. `section` is the dotted path of this section. */
export function crossCheckSeriesConfig(config: SeriesConfig, section: string): ConfigFault[] {
  const needed = config.columnsMax + FIXED_COLUMNS
  if (needed <= config.openColumnsMax) return []
  return [
    {
      key: `${section}.openColumnsMax`,
      problem: `${config.openColumnsMax} is less than the ${needed} columns of the widest type that columnsMax allows`,
      allowed: `at least ${needed}`,
    },
  ]
}
