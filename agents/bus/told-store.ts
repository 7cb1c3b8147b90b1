import { ConflictError, describeError, InternalError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents } from '../../storage/documents/documents.ts'
import type { EventLog, LogMessage } from '../../storage/event-log/event-log.ts'
import type { BusKey } from './bus-key.ts'
import { seal } from './envelope.ts'
import { EVENT_TOPICS } from './event-types.ts'
import type { OutboxEntry, StoredTold, Told } from './outbox.ts'

/** Documents looked at per sweep. */
const PAGE_ITEMS = 500
/** Documents of which it is remembered what was told. */
const TOLD_MAX = 10_000

export interface ToldStoreOptions<D extends Told> {
  documents: Documents
  eventLog: Pick<EventLog, 'append'>
  key: BusKey
  clock: Clock
  log: Logger
  config: { casAttemptsMax: number; republishAfterMs: number }
  collection: CollectionSpec
  /** What the messages call one of them. */
  noun: string
  /** Where a document keeps more than events until it is elsewhere: puts it there, and answers what may go from the document then. */
  settle?: (document: D) => Promise<(document: D) => D>
}

/** A change that is durable, and when it is on the bus as well. Where the log is away, `told` resolves nevertheless: it is tried again. */
export interface Changed<D extends Told> {
  stored: StoredTold<D>
  told: Promise<void>
}

/**
 * Documents that are changed by compare-and-set and tell their changes on the bus. Changes of one document wait for each other within the
 * process, so that only processes race; what they tell follows them in the same order, while the next change is made already.
 */
export class ToldStore<D extends Told> implements Service {
  readonly name: string
  readonly #options: ToldStoreOptions<D>
  readonly #turns = new Map<string, Promise<unknown>>()
  readonly #tellings = new Map<string, Promise<unknown>>()
  /** What of a document is in the log but still in the document: it goes with the next change, which saves a write of its own. */
  readonly #told = new Map<string, { sequence: number; settled: ((document: D) => D) | undefined }>()
  readonly #listeners = new Set<(document: StoredTold<D>) => void>()
  #collection: Collection<D> | undefined

  constructor(options: ToldStoreOptions<D>) {
    this.#options = options
    this.name = `${options.noun}-store`
  }

  async start(): Promise<void> {
    this.#collection ??= await this.#options.documents.collection<D>(this.#options.collection)
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#turns.values())
    await Promise.allSettled(this.#tellings.values())
    this.#collection = undefined
  }

  get collection(): Collection<D> {
    if (this.#collection === undefined) throw new InternalError(`the ${this.name} is not started`)
    return this.#collection
  }

  /** Calls `listener` after every change that this process makes, as soon as it is durable. Answers the way to stop that. */
  onChanged(listener: (document: StoredTold<D>) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Null where one with this id is there already. */
  async insert(id: string, document: D): Promise<StoredTold<D> | null> {
    const changed = await this.inserting(id, document)
    await changed?.told
    return changed?.stored ?? null
  }

  /** As `insert`, and does not wait until it is told. */
  inserting(id: string, document: D): Promise<Changed<D> | null> {
    return inTurn(this.#turns, id, async () => {
      const result = await this.collection.insert(id, document)
      return result.status === 'written' ? this.#changed(result.document) : null
    })
  }

  /** Reads, steps, writes until nobody was faster, and tells what changed. A step that answers its argument writes nothing. */
  async change(of: { id: string; tenant: string; expectedVersion?: number | undefined }, step: (document: D) => D): Promise<StoredTold<D>> {
    const { stored, told } = await this.changing(of, step)
    await told
    return stored
  }

  /** As `change`, and does not wait until it is told. */
  changing(of: { id: string; tenant: string; expectedVersion?: number | undefined }, step: (document: D) => D): Promise<Changed<D>> {
    return inTurn(this.#turns, of.id, () => this.#change(of, step))
  }

  /** Tells what may not have been told, after a crash or when the log was away, and tidies what was. */
  async republish(): Promise<void> {
    const before = this.#options.clock.nowMs() - this.#options.config.republishAfterMs
    const waiting = await this.collection.find({ unpublishedSince: { $lte: before } }, { limit: PAGE_ITEMS })
    for (const { id, tenant } of waiting) {
      const document = await this.collection.get(id)
      if (document === null || document.tenant !== tenant) continue
      // Not in the document's turn: while the log is away, it may be changed.
      await this.#tell(document)
      await inTurn(this.#turns, id, () => this.#tidy(id))
    }
  }

  async #change(of: { id: string; tenant: string; expectedVersion?: number | undefined }, step: (document: D) => D): Promise<Changed<D>> {
    const { config, noun } = this.#options
    for (let attempt = 1; attempt <= config.casAttemptsMax; attempt++) {
      const read = await this.collection.get(of.id)
      if (read === null || read.tenant !== of.tenant) throw new NotFoundError(`there is no ${noun} ${of.id}`)
      if (of.expectedVersion !== undefined && of.expectedVersion !== read.version) {
        throw new ConflictError(`${noun} ${of.id} has version ${read.version}, not ${of.expectedVersion}`, {
          code: 'VERSION_MISMATCH',
          remedy: 'Read it again and repeat the change.',
        })
      }
      const after = step(read)
      if (after === read) return { stored: read, told: inTurn(this.#tellings, of.id, () => undefined) }
      const result = await this.collection.replace(of.id, read.version, bare(this.#tidied(after)))
      if (result.status === 'written') return this.#changed(result.document)
    }
    throw new ConflictError(`${noun} ${of.id} was changed by others at every try`, { retryable: true, remedy: 'Try again.' })
  }

  #changed(stored: StoredTold<D>): Changed<D> {
    const told = this.#tell(stored)
    for (const listener of this.#listeners) listener(stored)
    return { stored, told }
  }

  /** After what was told of the same document before. */
  #tell(stored: StoredTold<D>): Promise<void> {
    return inTurn(this.#tellings, stored.id, () => this.#publish(stored))
  }

  /** The change is durable already, so trouble here fails nobody: `republish` tries again, under the same ids. */
  async #publish(stored: StoredTold<D>): Promise<void> {
    const { log, noun, settle } = this.#options
    const told = this.#told.get(stored.id)?.sequence ?? 0
    const outbox = stored.outbox.filter(({ sequence }) => sequence > told)
    if (outbox.length === 0) return
    try {
      const settled = await settle?.(stored)
      await this.#append(stored, outbox)
      this.#remember(stored.id, { sequence: stored.sequence, settled })
    } catch (error) {
      log.error({ [noun]: stored.id, error: describeError(error) }, 'events are not in the log yet; it will be tried again')
    }
  }

  #remember(id: string, told: { sequence: number; settled: ((document: D) => D) | undefined }): void {
    this.#told.delete(id)
    const [oldest] = this.#told.keys()
    // Whoever is forgotten is told again by the next sweep, under the same ids.
    if (this.#told.size >= TOLD_MAX && oldest !== undefined) this.#told.delete(oldest)
    this.#told.set(id, told)
  }

  /** Without what is elsewhere by now. */
  #tidied(document: D): D {
    const told = this.#told.get(document.id)
    if (told === undefined) return document
    const outbox = document.outbox.filter(({ sequence }) => sequence > told.sequence)
    const rest = told.settled === undefined ? document : told.settled(document)
    return { ...rest, outbox, unpublishedSince: outbox.length === 0 ? null : (outbox[0]?.at ?? document.unpublishedSince) }
  }

  /** Writes a document that nobody changes any more without what is elsewhere. */
  async #tidy(id: string): Promise<void> {
    const read = await this.collection.get(id)
    if (read === null || !this.#told.has(id)) return
    const after = this.#tidied(read)
    const result = await this.collection.replace(id, read.version, bare(after))
    if (result.status === 'written' && after.outbox.length === 0) this.#told.delete(id)
  }

  async #append(stored: StoredTold<D>, outbox: readonly OutboxEntry[]): Promise<void> {
    const byTopic = new Map<string, LogMessage[]>()
    for (const entry of outbox) {
      const topic = EVENT_TOPICS[entry.type]
      byTopic.set(topic, [...(byTopic.get(topic) ?? []), seal(entry, stored, this.#options.key.secret)])
    }
    await Promise.all([...byTopic].map(([topic, messages]) => this.#options.eventLog.append(topic, messages)))
  }
}

/** What was read, without what is the engine's. */
function bare<D extends Told>(document: D): D {
  const { _id, version, ...rest } = document as StoredTold<D>
  return rest as unknown as D
}

/** Runs after what was begun under the same id before, whatever became of that. */
async function inTurn<R>(turns: Map<string, Promise<unknown>>, id: string, run: () => Promise<R> | R): Promise<R> {
  const turn = (turns.get(id) ?? Promise.resolve()).then(run, run)
  turns.set(id, turn)
  try {
    return await turn
  } finally {
    if (turns.get(id) === turn) turns.delete(id)
  }
}
