import type { AuditedAct } from '../../contracts/audit.ts'
import { describeError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { LooseEntry } from './chain.ts'
import { looseEntry } from './plain-act.ts'

interface StoredIntent {
  process: string
  at: number
  entry: LooseEntry
}

export interface IntentsOptions {
  documents: Documents
  /** Of this data folder, the same after every start. */
  processId: string
  clock: Clock
  log: Logger
}

/** Of one process, looked at in one step. */
const PAGE_DOCUMENTS = 200
const CUT_OFF = 'the process ended before it was answered; it may have been done'

/**
 * What is about to be done, durably, for acts that cannot be written together with their entry: what a crash cuts off between an act and its
 * entry is told at the next start. Ended ones are forgotten without waiting: one forgotten too late is told once more, as what it was.
 */
export class Intents {
  readonly #options: IntentsOptions
  readonly #ending = new Set<Promise<unknown>>()
  #collection: Promise<Collection<StoredIntent>> | undefined

  constructor(options: IntentsOptions) {
    this.#options = options
  }

  /** Resolves, when it is durable, to what is called once it is recorded or refused. */
  async begin(act: AuditedAct): Promise<() => void> {
    const { clock, log, processId } = this.#options
    const collection = await this.#open()
    const id = `${processId}/${newId(clock.nowMs())}`
    await collection.insert(id, { process: processId, at: clock.nowMs(), entry: looseEntry(act, clock.nowMs()) })
    return () => {
      const ending = collection
        .delete(id)
        .catch((error: unknown) => log.warn({ error: describeError(error) }, 'an audited act is still noted as begun'))
        .finally(() => this.#ending.delete(ending))
      this.#ending.add(ending)
    }
  }

  /** Hands over what this process had begun when it ended; each is forgotten once it was taken. To be called before anything new begins. */
  async settle(take: (entry: LooseEntry) => Promise<void>): Promise<void> {
    const collection = await this.#open()
    for (;;) {
      const left = await collection.find({ process: this.#options.processId }, { sort: { at: 1 }, limit: PAGE_DOCUMENTS })
      for (const { _id, entry } of left) {
        await take({ ...entry, outcome: 'failed', why: CUT_OFF })
        await collection.delete(_id)
      }
      if (left.length < PAGE_DOCUMENTS) return
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#ending)
    this.#collection = undefined
  }

  #open(): Promise<Collection<StoredIntent>> {
    this.#collection ??= this.#options.documents
      .collection<StoredIntent>({ name: 'audit-intents', indexes: [{ name: 'by-process', paths: ['process', 'at'] }] })
      .catch((error: unknown) => {
        this.#collection = undefined
        throw error
      })
    return this.#collection
  }
}
