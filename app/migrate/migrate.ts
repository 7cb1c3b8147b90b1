import { ConflictError, InternalError } from '../../kernel/errors.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { SeriesSource, SeriesStore } from '../../storage/series/series-store.ts'
import { CollectionMover } from './collection-mover.ts'
import { checkDrained } from './drained.ts'
import { MoveRecord } from './move-record.ts'
import { MOVE_RULES } from './move-rules.ts'
import type { MoveCount, Mover, OnProgress } from './mover.ts'
import { SeriesMover } from './series-mover.ts'

export interface MigrateOptions {
  /** Started, of one stopped platform. `id` names its data folder. */
  source: { id: string; documents: Documents & { collectionNames(): string[] }; series: SeriesStore & SeriesSource; eventLog: EventLog }
  /** Started. */
  target: { documents: Documents; series: SeriesStore }
  /** Partitions that the target's topics have, or will have. */
  partitions: number
  clock: Clock
  onProgress: OnProgress
  /** Readings moved at once. */
  seriesPageRows?: number
}

export interface MoveReport {
  /** `again`: it was moved before, and nothing was done now; the counts are those of then. */
  status: 'moved' | 'again'
  finishedAt: number
  counts: MoveCount[]
  /** Everything is on both sides. */
  agrees: boolean
}

/**
 * Moves documents and series of an embedded platform into the engines of a cluster. Cut short, it goes on where it was; what the target holds
 * is never overwritten. Throws ConflictError when the log is not drained or the target holds other data.
 */
export async function migrate(options: MigrateOptions): Promise<MoveReport> {
  const { source, target, clock, onProgress } = options
  const record = await MoveRecord.open(target.documents, source.id)
  if (record.end !== null) return { status: 'again', agrees: true, ...record.end }
  await checkDrained(source.eventLog, source.documents)
  const movers = moversOf(options, record)
  if (!record.isBegun) {
    await checkEmpty(movers)
    await record.begin(source.id, clock.nowMs())
  }
  for (const mover of movers) await mover.move(onProgress)
  const counts = await countsOf(movers)
  const agrees = counts.every((count) => count.agrees)
  const finishedAt = clock.nowMs()
  if (agrees) await record.finish(finishedAt, counts)
  return { status: 'moved', finishedAt, counts, agrees }
}

function moversOf({ source, target, partitions, clock, seriesPageRows }: MigrateOptions, record: MoveRecord): Mover[] {
  const movers: Mover[] = []
  for (const name of source.documents.collectionNames()) {
    const rule = MOVE_RULES[name]
    if (rule === undefined) throw new InternalError(`nothing says how to move the documents of ${name}`)
    if ('stays' in rule) continue
    const documents = { source: source.documents, target: target.documents }
    movers.push(new CollectionMover({ ...documents, record, context: { partitions }, name, to: rule.to }))
  }
  movers.push(new SeriesMover({ source: source.series, target: target.series, clock, pageRows: seriesPageRows }))
  return movers
}

async function countsOf(movers: readonly Mover[]): Promise<MoveCount[]> {
  const counts: MoveCount[] = []
  for (const mover of movers) counts.push(...(await mover.counts()))
  return counts
}

async function checkEmpty(movers: readonly Mover[]): Promise<void> {
  const held: string[] = []
  for (const mover of movers) held.push(...(await mover.held()))
  if (held.length === 0) return
  throw new ConflictError(`the cluster holds data already: ${held.join(', ')}`, {
    remedy:
      'Move before the cluster is started for the first time, or name an empty database (mongodb.database) and other tables (questdb.tablePrefix).',
  })
}
