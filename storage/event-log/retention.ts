import { StoreError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import { readEntrySummary } from './entry-reader.ts'
import type { EventLogMetrics } from './event-log-metrics.ts'
import { commitCause } from '../lmdb-commit-cause.ts'
import { toLogError } from './lmdb-errors.ts'
import type { LmdbEnvironment } from './lmdb-environment.ts'
import { entryKey, partitionKey, type Slot } from './log-keys.ts'
import { glanceAtOrAfter } from './partition-cursor.ts'
import { encodeTail, readHead, readTail, type Head, type Tail, type Versioned } from './partition-state.ts'
import type { Topic, TopicCatalog } from './topic-catalog.ts'

export interface RetentionOptions {
  environment: LmdbEnvironment
  catalog: TopicCatalog
  clock: Clock
  log: Logger
  metrics: EventLogMetrics
  entriesPerCommit: number
}

export interface Removed {
  records: number
  bytes: number
}

/** A partition's beginning as removal goes on: its oldest entry and what was chosen so far. */
interface Beginning {
  readonly slot: Slot
  readonly partition: number
  readonly head: Head
  readonly tail: Versioned<Tail>
  oldest: { baseOffset: number; endOffset: number; appendedAt: number; endBytes: number } | null
  readonly removed: number[]
  removedUntil: Tail
}

/** Removes whole entries from the oldest on, by age and by the topic's size; the newest entry of a topic stays whatever its size. */
export class Retention {
  readonly #options: RetentionOptions

  constructor(options: RetentionOptions) {
    this.#options = options
  }

  async run(): Promise<Removed> {
    const total: Removed = { records: 0, bytes: 0 }
    for (const topic of this.#options.catalog.all()) {
      if (topic.retentionBytes === 0 && topic.retentionMs === 0) continue
      await this.#runTopic(topic, total)
    }
    return total
  }

  async #runTopic(topic: Topic, total: Removed): Promise<void> {
    const { entriesPerCommit } = this.#options
    let entriesMax = entriesPerCommit
    for (;;) {
      try {
        const { isMore } = await this.#runOnce(topic, entriesMax, total)
        if (!isMore) return
        entriesMax = Math.min(entriesPerCommit, entriesMax * 2)
      } catch (error) {
        // Removing takes some pages before it gives any back: on a full disk there may be enough for a few entries, which make room for more.
        if (!(error instanceof StoreError && error.code === 'STORE_FULL') || entriesMax === 1) throw error
        entriesMax = Math.ceil(entriesMax / 8)
      }
    }
  }

  /** At most one commit per partition; counts into `total`. */
  async #runOnce(topic: Topic, entriesMax: number, total: Removed): Promise<{ isMore: boolean }> {
    const { environment, catalog, metrics, log } = this.#options
    environment.refresh()
    const beginnings = catalog.slots(topic).flatMap((slot, partition) => this.#beginning(topic, slot, partition))
    const chosen = this.#choose(topic, beginnings, entriesMax)
    for (const beginning of beginnings) {
      const { partition, tail, removed, removedUntil } = beginning
      if (removed.length === 0 || !(await this.#remove(beginning))) continue
      const records = removedUntil.first - tail.first
      const bytes = removedUntil.bytesBefore - tail.bytesBefore
      total.records += records
      total.bytes += bytes
      metrics.removedMessages.inc({ topic: topic.name }, records)
      metrics.removedBytes.inc({ topic: topic.name }, bytes)
      log.debug({ topic: topic.name, partition, records, bytes }, 'retention removed messages')
    }
    return { isMore: chosen === entriesMax }
  }

  #beginning(topic: Topic, slot: Slot, partition: number): Beginning[] {
    const { environment } = this.#options
    const head = readHead(environment.heads, slot)
    const tail = readTail(environment.tails, slot)
    if (head === undefined || tail === undefined) return []
    const beginning: Beginning = { slot, partition, head, tail, oldest: null, removed: [], removedUntil: tail }
    this.#readOldest(topic, beginning)
    return [beginning]
  }

  /** Marks entries for removal; returns how many. */
  #choose(topic: Topic, beginnings: readonly Beginning[], entriesMax: number): number {
    const { clock } = this.#options
    const expiredBefore = topic.retentionMs === 0 ? -Infinity : clock.nowMs() - topic.retentionMs
    let chosen = 0
    for (; chosen < entriesMax; chosen++) {
      const oldest = oldestOf(beginnings)
      if (oldest?.oldest == null) break
      const isExpired = oldest.oldest.appendedAt < expiredBefore
      if (!isExpired && !this.#isTooLarge(topic, beginnings)) break
      oldest.removed.push(oldest.oldest.baseOffset)
      oldest.removedUntil = { first: oldest.oldest.endOffset, bytesBefore: oldest.oldest.endBytes }
      this.#readOldest(topic, oldest)
    }
    return chosen
  }

  #isTooLarge(topic: Topic, beginnings: readonly Beginning[]): boolean {
    if (topic.retentionBytes === 0) return false
    let bytes = 0
    let entries = 0
    for (const { head, removedUntil, oldest } of beginnings) {
      bytes += head.bytes - removedUntil.bytesBefore
      if (oldest !== null) entries += oldest.endOffset === head.next ? 1 : 2
    }
    return bytes > topic.retentionBytes && entries > 1
  }

  #readOldest(topic: Topic, beginning: Beginning): void {
    const { slot, partition, removedUntil } = beginning
    const found = glanceAtOrAfter(this.#options.environment, slot, removedUntil.first)
    if (found === null) {
      beginning.oldest = null
      return
    }
    const { baseOffset, entry } = found
    const { count, appendedAt, bytesBefore } = readEntrySummary(entry, { topic: topic.name, partition }, baseOffset)
    beginning.oldest = { baseOffset, endOffset: baseOffset + count, appendedAt, endBytes: bytesBefore + entry.length }
  }

  /** False when another thread's retention was first. */
  async #remove({ slot, tail, removed, removedUntil }: Beginning): Promise<boolean> {
    const { environment } = this.#options
    try {
      return await environment.tails.ifVersion(partitionKey(slot), tail.version, () => {
        for (const baseOffset of removed) void environment.entries.remove(entryKey(slot, baseOffset))
        void environment.tails.put(partitionKey(slot), encodeTail(removedUntil), environment.nextVersion())
      })
    } catch (error) {
      throw toLogError(await commitCause(error), environment.directory)
    }
  }
}

/** The one whose oldest entry is the oldest of all. */
function oldestOf(beginnings: readonly Beginning[]): Beginning | null {
  let found: Beginning | null = null
  for (const beginning of beginnings) {
    if (beginning.oldest === null) continue
    if (found?.oldest == null || beginning.oldest.appendedAt < found.oldest.appendedAt) found = beginning
  }
  return found
}
