import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import type { Service } from '../../kernel/service.ts'

/** What the API answers for one stored reading. */
export interface StoredReading {
  device: string
  type: string
  /** Event time and receipt, epoch ms. */
  ts: number
  receivedAt: number
  boot: string | null
  seq: number | null
  values: Record<string, MetricValue>
}

export interface RangeQuery {
  tenant: string
  /** Of this one, or of any of these: one query for several costs hardly more than one for one. */
  device?: string | readonly string[]
  /** Only readings that carry this metric, with this metric alone. */
  metric?: string
  /** Inclusive and exclusive, epoch ms of event time. */
  fromTs?: number
  toTs?: number
  limit: number
  /** From the last page's `next`. */
  cursor?: string
}

export interface DownsampleQuery {
  tenant: string
  device: string
  metric: string
  fromTs: number
  toTs: number
  /** Bucket width. */
  intervalMs: number
}

/** One non-empty bucket. */
export interface Bucket {
  ts: number
  count: number
  min: number
  max: number
  mean: number
  first: number
  last: number
}

/** A reading's identity: (tenant, device, boot, seq, ts), or (tenant, device, ts) without seq; see contracts/reading.ts. */
export interface ReadingIdentity {
  tenant: string
  device: string
  ts: number
  boot: string | null
  seq: number | null
  /** Position of the reading that asks: only rows of an earlier offset in its partition count. */
  partition: number
  offset: number
}

/**
 * Time-series store: one wide table per tenant and device type, a column per metric. Engines: DuckDB (one machine), QuestDB.
 * A metric's column is made at first sight; a metric whose kind differs from its column is refused by ingest before it gets here.
 */
export interface SeriesStore extends Service {
  /**
   * Writes rows and remembers `nextOffsets` in one transaction: after a crash either both are there or neither. An engine without
   * transactions (QuestDB) writes the rows first, and rows that come again replace themselves.
   * Rows before the remembered offset of their partition are skipped, so that a replay cannot store twice.
   */
  write(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): Promise<void>
  /** Next offset to be stored per partition of the readings topic. */
  positions(): Promise<ReadonlyMap<number, number>>
  /** For each identity: is a row of it stored already? Same order as asked. Rows in MOVED_PARTITION and above always count. */
  contains(identities: readonly ReadingIdentity[]): Promise<boolean[]>
  /**
   * Newest event time first, then newest receipt, then highest offset. InvalidInputError for a cursor that no page gave, and for a limit below 1.
   * When the signal aborts, nobody waits for the answer any more: TimeoutError at once, and the query leaves the queue, or the engine.
   */
  range(query: RangeQuery, signal?: AbortSignal): Promise<{ items: StoredReading[]; next: string | null }>
  latest(tenant: string, device: string): Promise<StoredReading | null>
  /** Oldest first; buckets begin at multiples of `intervalMs` since the epoch. InvalidInputError for a metric that holds no numbers. */
  downsample(query: DownsampleQuery): Promise<Bucket[]>
  /** Metrics stored for a type, with their kinds. */
  metrics(tenant: string, type: string): Promise<ReadonlyMap<string, 'number' | 'boolean' | 'string'>>
  /** Number of readings stored for a tenant, or for one device of it. */
  count(tenant: string, device?: string): Promise<number>
  /**
   * Removes readings received before this instant from every answer; resolves with how many. QuestDB deletes no rows: it leaves them out,
   * and frees the disk of partitions in which no others are.
   */
  retain(receivedBefore: number): Promise<number>
  /**
   * Erases the readings of one device that were received before this instant; resolves with how many, when that is durable. What the event
   * log brings of them later, or again, is not stored: no replay brings one back. What a call that was cut short has left, the same call removes.
   * DuckDB deletes the rows; the file's freed blocks are used again for later ones. QuestDB deletes no rows: it empties them (no value of a
   * metric is left on disk once its column files are purged), leaves them out of every answer, and drops partitions in which no others are;
   * until then the instants and sequence numbers of the emptied rows stay on disk.
   */
  erase(tenant: string, device: string, receivedBefore: number): Promise<number>
}

/**
 * Partitions from here on hold what came from an earlier log, at its old partition's number plus this: those offsets say nothing about the
 * present log, and everything in them was stored before it. Below QuestDB's bound of 65 536 for partitions in a key.
 */
export const MOVED_PARTITION = 32_768

/** A place in the log a row came from: everything from here on is still to be read. */
export interface ScanPlace {
  partition: number
  offset: number
}

/** A row with everything that was kept of its reading. */
export type ScannedReading = Omit<LoggedReading, 'correlationId' | 'tsAbsent'>

/** The power of an engine to be read out whole, for a move to another one. */
export interface SeriesSource {
  /** Tenants that have a table, in the order of their first one. */
  tenants(): Promise<string[]>
  /**
   * Rows of all tenants and types in the order of their places, from `from` (included; null: the first) on, at most `rowsMax`; `next` is null
   * when there are no more. Right while nothing is written or removed.
   */
  scan(from: ScanPlace | null, rowsMax: number): Promise<{ rows: ScannedReading[]; next: ScanPlace | null }>
}
