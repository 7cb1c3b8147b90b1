import { InternalError } from '../../kernel/errors.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import {
  MOVED_PARTITION,
  type ScannedReading,
  type ScanPlace,
  type SeriesSource,
  type SeriesStore,
} from '../../storage/series/series-store.ts'
import type { MoveCount, Mover, OnProgress } from './mover.ts'

/** Rows read and written at once: the size in which QuestDB takes them best. */
const PAGE_ROWS = 20_000
/** An engine may show rows a while after it has acknowledged them. */
const SETTLE_TIMEOUT_MS = 60_000
const SETTLE_POLL_MS = 250
const WHAT = 'readings'

export interface SeriesMoverOptions {
  source: SeriesStore & SeriesSource
  target: SeriesStore
  clock: Clock
  pageRows?: number | undefined
}

/**
 * Moves the readings, in the order in which they were stored, into partitions of their own. The target itself remembers how far it is, in
 * the same step as the rows, so that a move that was cut short goes on exactly there.
 */
export class SeriesMover implements Mover {
  readonly #options: SeriesMoverOptions

  constructor(options: SeriesMoverOptions) {
    this.#options = options
  }

  async held(): Promise<string[]> {
    const count = await this.#count(this.#options.target)
    return count === 0 ? [] : [`${count} readings`]
  }

  async move(onProgress: OnProgress): Promise<void> {
    const { source, target, pageRows = PAGE_ROWS } = this.#options
    const total = await this.#count(source)
    let place = await this.#reached()
    let done = place === null ? 0 : await this.#count(target)
    for (;;) {
      onProgress(WHAT, Math.min(done, total), total)
      const page: { rows: ScannedReading[]; next: ScanPlace | null } = await source.scan(place, pageRows)
      // Should some of them be there already, the target passes over them.
      const rows = page.rows.map((row) => ({ ...row, correlationId: 'moved', partition: movedPartition(row.partition) }))
      const last = rows.at(-1)
      if (last !== undefined) await target.write(rows, new Map([[last.partition, last.offset + 1]]))
      done += rows.length
      if (page.next === null) break
      place = page.next
    }
    onProgress(WHAT, total, total)
  }

  async counts(): Promise<MoveCount[]> {
    const { source, target, clock } = this.#options
    const counts: MoveCount[] = []
    const deadlineMs = clock.monotonicMs() + SETTLE_TIMEOUT_MS
    for (const tenant of await source.tenants()) {
      const wanted = await source.count(tenant)
      let found = await target.count(tenant)
      while (found !== wanted && clock.monotonicMs() < deadlineMs) {
        await sleep(clock, SETTLE_POLL_MS)
        found = await target.count(tenant)
      }
      counts.push({ what: `${WHAT} of ${tenant}`, source: wanted, left: 0, target: found, agrees: found === wanted })
    }
    return counts
  }

  /** Partitions are moved one after the other: in the last one that has anything, the target knows how far it is. */
  async #reached(): Promise<ScanPlace | null> {
    const moved = [...(await this.#options.target.positions())].filter(([partition]) => partition >= MOVED_PARTITION)
    const last = moved.sort(([a], [b]) => b - a)[0]
    return last === undefined ? null : { partition: last[0] - MOVED_PARTITION, offset: last[1] }
  }

  /** Readings of the source's tenants. */
  async #count(store: SeriesStore): Promise<number> {
    let total = 0
    for (const tenant of await this.#options.source.tenants()) total += await store.count(tenant)
    return total
  }
}

function movedPartition(partition: number): number {
  if (partition < MOVED_PARTITION) return partition + MOVED_PARTITION
  throw new InternalError(`partition ${partition} was moved before and cannot be moved again`)
}
