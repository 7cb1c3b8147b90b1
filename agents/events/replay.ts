import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import type { BusKey } from '../bus/bus-key.ts'
import { open, type BusEvent } from '../bus/envelope.ts'
import { BUS_TOPICS } from '../bus/event-types.ts'
import type { Journal } from './journal.ts'

/** Records read at a time. */
const SLICE = 500

/** Where a replay is: what lies before this place was read. */
export interface ReplayPlace {
  /** Index among the topics of the bus. */
  topic: number
  partition: number
  offset: number
}

export interface Replayed {
  read: number
  /** What the journal had not. */
  added: number
  known: number
  /** What is not ours, cannot be read, or has the place of another event. */
  refused: number
  /** Where to go on; null: that was all. */
  next: ReplayPlace | null
}

export interface ReplayOptions {
  eventLog: EventLog
  key: BusKey
  journal: Journal
  /** Epoch ms: what was appended from then on. */
  fromMs: number
  place?: ReplayPlace | undefined
  recordsMax: number
}

/** Reads the bus again, as far back as the log keeps it, and adds to the journal what it has not. It commits nothing and has no other effect. */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { eventLog, fromMs, place, recordsMax } = options
  const sum: Replayed = { read: 0, added: 0, known: 0, refused: 0, next: null }
  for (const [index, topic] of BUS_TOPICS.entries()) {
    if (place !== undefined && index < place.topic) continue
    const [begins, bounds] = [await eventLog.offsetsAt(topic, fromMs), await eventLog.bounds(topic)]
    for (const partition of [...bounds.keys()].sort((a, b) => a - b)) {
      const isAt = place?.topic === index
      if (isAt && partition < place.partition) continue
      const end = bounds.get(partition)?.next ?? 0
      let offset = isAt && partition === place.partition ? place.offset : (begins.get(partition) ?? end)
      while (offset < end) {
        if (sum.read >= recordsMax) return { ...sum, next: { topic: index, partition, offset } }
        const records = await eventLog.read(topic, partition, offset, Math.min(SLICE, recordsMax - sum.read))
        const last = records.at(-1)
        if (last === undefined) break
        await take(
          records.filter((record) => record.offset < end),
          options,
          sum,
        )
        offset = last.offset + 1
      }
    }
  }
  await options.journal.sweep()
  return sum
}

async function take(records: readonly LogRecord[], { key, journal }: ReplayOptions, sum: Replayed): Promise<void> {
  const events: BusEvent[] = []
  for (const record of records) {
    const opened = open(record, key.secret)
    if (opened.status === 'event') events.push(opened.event)
  }
  const added = await journal.add(events)
  sum.read += records.length
  sum.added += added.filter((each) => each === 'new').length
  sum.known += added.filter((each) => each === 'known').length
  sum.refused += records.length - events.length + added.filter((each) => each === 'other').length
}
