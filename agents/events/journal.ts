import { createHash } from 'node:crypto'
import { InternalError } from '../../kernel/errors.ts'
import { mapBounded } from '../../kernel/map-bounded.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents, Filter } from '../../storage/documents/documents.ts'
import type { BusEvent } from '../bus/envelope.ts'
import type { Cause, EventTaker } from '../bus/event-intake.ts'
import type { EventType } from '../bus/event-types.ts'
import type { AgentsConfig } from '../config.ts'

/** An event as the journal keeps it. */
export interface JournalEntry extends Omit<BusEvent, 'version'> {
  v: 1
  /** Of its schema. */
  schemaVersion: number
  /** Of what it says: an event with the same place must be the same. */
  hash: string
  /** When it may go, epoch ms; null: with its stream. */
  expiresAt: number | null
}

const JOURNAL_COLLECTION: CollectionSpec = {
  name: 'agent-events',
  indexes: [
    { name: 'place', paths: ['stream', 'sequence'], unique: true },
    { name: 'by-time', paths: ['tenant', 'at', 'id'] },
    { name: 'by-type', paths: ['type', 'tenant', 'at'] },
    { name: 'by-end', paths: ['expiresAt'] },
  ],
  // The hash too: with it, a guess of what was said could be tried.
  sealed: ['data', 'hash'],
}

/** What passes, and says nothing of what is: it goes by age. Everything else goes with the conversation that it tells of. */
const PASSING: ReadonlySet<EventType> = new Set(['AgentStatusUpdated', 'AttentionChanged', 'ChatDeleted'])
/** Entries compared at a time. */
const READS_IN_FLIGHT_MAX = 16
/** Streams tidied per round. */
const STREAMS_PER_SWEEP = 500

export interface JournalQuery {
  tenant: string
  type?: EventType
  /** Epoch ms, inclusive. */
  from?: number
  /** Epoch ms, exclusive. */
  to?: number
  limit: number
  before?: { at: number; id: string }
}

/**
 * What happened, in order: the events of every conversation and every agent, by stream and sequence. It is made of the bus alone, so that it
 * can be made again from the bus: in whatever order and however often events come, it holds the same in the end.
 */
export class Journal implements EventTaker, Service {
  readonly name = 'agent-journal'
  readonly #options: { documents: Documents; clock: Clock; config: Pick<AgentsConfig, 'retentionMs'> }
  #collection: Collection<JournalEntry> | undefined

  constructor(options: { documents: Documents; clock: Clock; config: Pick<AgentsConfig, 'retentionMs'> }) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#collection ??= await this.#options.documents.collection<JournalEntry>(JOURNAL_COLLECTION)
  }

  async stop(): Promise<void> {
    this.#collection = undefined
  }

  get #entries(): Collection<JournalEntry> {
    if (this.#collection === undefined) throw new InternalError('the journal is not started')
    return this.#collection
  }

  /** See EventTaker. What has the place of another event is not taken. */
  async take(events: readonly BusEvent[]): Promise<readonly (Cause | null)[]> {
    return (await this.add(events)).map((added) => (added === 'other' ? 'another event has its place' : null))
  }

  /** What became of each: it is `new`, was `known`, or its place is another's. */
  async add(events: readonly BusEvent[]): Promise<('new' | 'known' | 'other')[]> {
    const entries = events.map((event) => entryOf(event, this.#options.config.retentionMs))
    const first = new Map<string, JournalEntry>()
    for (const entry of entries) if (!first.has(entry.id)) first.set(entry.id, entry)
    const unique = [...first.values()]
    const results = await this.#entries.saveMany(unique.map((document) => ({ id: document.id, version: 0, document })))
    const written = new Set(unique.filter((_entry, i) => results[i] === 'written'))
    for (const { stream, type, at } of written) if (type === 'ChatDeleted') await this.#forget(stream, at)
    return mapBounded(entries, READS_IN_FLIGHT_MAX, async (entry) => {
      if (written.has(entry)) return 'new'
      const kept = await this.#kept(entry.id)
      return kept === null || kept.hash === entry.hash ? 'known' : 'other'
    })
  }

  /** This very event, not another at its place. */
  async holds(event: BusEvent): Promise<boolean> {
    return (await this.#kept(event.id))?.hash === hashOf(event)
  }

  /** One that does not open any more keeps its place, and holds up no other. */
  async #kept(id: string): Promise<JournalEntry | null> {
    const [kept = null] = await this.#entries.find({ _id: id }, { limit: 1 })
    return kept
  }

  /** Of one stream, by sequence. */
  async ofStream(stream: { tenant: string; stream: string }, afterSequence: number, limit: number): Promise<JournalEntry[]> {
    const of = { stream: stream.stream, tenant: stream.tenant, sequence: { $gt: afterSequence } }
    return this.#entries.find(of, { sort: { sequence: 1 }, limit })
  }

  /** Of a tenant, newest first. */
  async list({ tenant, type, from, to, limit, before }: JournalQuery): Promise<JournalEntry[]> {
    const at = { ...(from === undefined ? {} : { $gte: from }), ...(to === undefined ? {} : { $lt: to }) }
    const filter: Filter = {
      tenant,
      ...(type === undefined ? {} : { type }),
      ...(Object.keys(at).length === 0 ? {} : { at }),
      ...(before === undefined ? {} : { $or: [{ at: { $lt: before.at } }, { at: before.at, id: { $lt: before.id } }] }),
    }
    return this.#entries.find(filter, { sort: { at: -1, id: -1 }, limit })
  }

  /** Removes what is too old, and what came late of conversations that are gone. */
  async sweep(): Promise<void> {
    const nowMs = this.#options.clock.nowMs()
    await this.#entries.deleteMany({ expiresAt: { $lte: nowMs } })
    const gone = await this.#entries.find({ type: 'ChatDeleted' }, { sort: { at: -1 }, limit: STREAMS_PER_SWEEP })
    for (const { stream, at } of gone) await this.#forget(stream, at)
  }

  async #forget(stream: string, at: number): Promise<void> {
    await this.#entries.deleteMany({ stream, at: { $lte: at }, type: { $ne: 'ChatDeleted' } })
  }
}

function entryOf(event: BusEvent, retentionMs: number): JournalEntry {
  const expiresAt = PASSING.has(event.type) ? event.at + retentionMs : null
  const { version: schemaVersion, ...rest } = event
  return { ...rest, v: 1, schemaVersion, hash: hashOf(event), expiresAt }
}

function hashOf(event: BusEvent): string {
  return createHash('sha256').update(JSON.stringify(event)).digest('base64url')
}
