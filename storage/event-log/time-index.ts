import { readEntrySummary } from './entry-reader.ts'
import type { LmdbEnvironment } from './lmdb-environment.ts'
import { slotOf } from './log-keys.ts'
import { lastEntryAtOrBefore } from './partition-cursor.ts'
import type { Topic } from './topic-catalog.ts'

/**
 * First offset in [first, next) whose record was appended at or after the time, or `next`. Times never go back within a partition and
 * are those of whole entries, so a search by halves over entries finds it.
 */
export function offsetAtTime(
  environment: LmdbEnvironment,
  topic: Topic,
  partition: number,
  range: { first: number; next: number },
  timestampMs: number,
): number {
  const slot = slotOf(topic.id, partition)
  const place = { topic: topic.name, partition }
  let low = range.first
  let high = range.next
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const found = lastEntryAtOrBefore(environment, slot, middle)
    if (found === null || found.baseOffset < range.first) return low
    const { count, appendedAt } = readEntrySummary(found.entry, place, found.baseOffset)
    if (appendedAt >= timestampMs) high = found.baseOffset
    else low = found.baseOffset + count
  }
  return low
}
