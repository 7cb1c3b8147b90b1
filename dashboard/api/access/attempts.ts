import { createHash } from 'node:crypto'
import { LimitError } from '../../../kernel/errors.ts'
import type { Clock } from '../../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents } from '../../../storage/documents/documents.ts'

/** Addresses whose failures are counted at once. */
const ADDRESSES_MAX = 10_000
/** Failures in a minute that a process tells the others: from thousands of addresses, each durable write would help who attacks. */
const TOLD_MAX = 1_000
const MINUTE_MS = 60_000
const ATTEMPTS_COLLECTION: CollectionSpec = { name: 'failed-logins', indexes: [{ name: 'by-minute', paths: ['minute'] }] }

interface AttemptsDocument {
  /** Minutes since 1970. */
  minute: number
  count: number
}

export interface AttemptsOptions {
  documents: Documents
  clock: Clock
  perMinuteMax: number
}

/** Failed logins and unknown tokens, counted by address and minute, of all processes together. */
export class Attempts {
  readonly #options: AttemptsOptions
  readonly #failures = new Map<string, number>()
  #minute = 0
  #told = 0
  #store: Collection<AttemptsDocument> | undefined

  constructor(options: AttemptsOptions) {
    this.#options = options
  }

  /** Counts a failure; throws LimitError for a further one after too many. What is right is never asked: people behind one address would lock each other out. */
  async failed(address: string): Promise<void> {
    const { clock, perMinuteMax } = this.#options
    const minute = Math.floor(clock.nowMs() / MINUTE_MS)
    if (minute !== this.#minute) await this.#turn(minute)
    const known = this.#failures.get(address) ?? 0
    if (known >= perMinuteMax) throw tooMany()
    if (this.#failures.size >= ADDRESSES_MAX) this.#failures.clear()
    this.#failures.set(address, known + 1)
    if (this.#told >= TOLD_MAX) return
    this.#told++
    const count = await this.#tell(address, minute)
    if (minute === this.#minute) this.#failures.set(address, Math.max(count, this.#failures.get(address) ?? 0))
    if (count > perMinuteMax) throw tooMany()
  }

  /** Another minute: what was counted before it is over. */
  async #turn(minute: number): Promise<void> {
    this.#minute = minute
    this.#told = 0
    this.#failures.clear()
    await (await this.#opened()).deleteMany({ minute: { $lt: minute } })
  }

  /** One more of this address; answers how many of all processes. */
  async #tell(address: string, minute: number): Promise<number> {
    const store = await this.#opened()
    const id = `${minute}-${createHash('sha256').update(address).digest('hex')}`
    const inserted = await store.insert(id, { minute, count: 1 })
    if (inserted.status === 'written') return 1
    const updated = await store.update(id, { $inc: { count: 1 } })
    // Removed between the two: its minute is over for another process, whose clock is ahead.
    return updated.status === 'written' ? updated.document.count : 1
  }

  async #opened(): Promise<Collection<AttemptsDocument>> {
    this.#store ??= await this.#options.documents.collection<AttemptsDocument>(ATTEMPTS_COLLECTION)
    return this.#store
  }
}

function tooMany(): LimitError {
  return new LimitError('Too many failed attempts from this address (api.loginsPerMinuteMax).', { remedy: 'Wait a minute.' })
}
