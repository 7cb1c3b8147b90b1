import { EnvironmentError } from '../../kernel/errors.ts'
import type { Collection, Stored } from '../../storage/documents/documents.ts'

interface Slot<T> {
  current: Promise<void>
  next?: { document: T | null; written: Promise<void> }
}

/** May this process still write what it holds? */
export interface WriteFence {
  /** True while it is certain without asking anyone. */
  readonly isValid: boolean
  /** Makes certain, by asking; resolves to false when another process has taken over. */
  confirm(): Promise<boolean>
  /** As `confirm`, but asks even when it seems certain: something was found that only another writer can have written. */
  recheck(): Promise<boolean>
}

/** Writes that find a version of somebody else's are tried so often: once for an answer of our own that got lost, once more for a late one. */
const ATTEMPTS_MAX = 3

/**
 * Writes documents whose latest state is all that counts: one write in flight per id, in order, and what changes meanwhile is
 * gathered into one next write. Memory is bounded by the callers' own bounds: at most two documents per id wait here.
 * Each write replaces exactly the version that was loaded or written last, so that a process that was taken for dead cannot write over
 * what its successor wrote.
 */
export class LatestWriter<T extends object> {
  readonly #collection: Collection<T>
  readonly #fence: WriteFence | undefined
  readonly #slots = new Map<string, Slot<T>>()
  readonly #versions = new Map<string, number>()

  constructor(collection: Collection<T>, fence?: WriteFence) {
    this.#collection = collection
    this.#fence = fence
  }

  /** Notes a document that was read; its writes begin from this version. */
  loaded({ _id, version }: Stored): void {
    this.#versions.set(_id, version)
  }

  /** Forgets what was known of a document that is not written here any more. */
  forget(id: string): void {
    this.#versions.delete(id)
  }

  /** Stores `document`, or deletes with null; resolves when this state (or a later one) is durable. Throws SESSION_TAKEN when fenced. */
  write(id: string, document: T | null): Promise<void> {
    const slot = this.#slots.get(id)
    if (slot === undefined) {
      const fresh: Slot<T> = { current: Promise.resolve() }
      this.#slots.set(id, fresh)
      return this.#run(id, fresh, document)
    }
    if (slot.next !== undefined) {
      slot.next.document = document
      return slot.next.written
    }
    const proceed = (): Promise<void> => {
      const latest = slot.next?.document ?? null
      delete slot.next
      return this.#run(id, slot, latest)
    }
    // A failed earlier write is its own caller's error; the next state is tried all the same.
    slot.next = { document, written: slot.current.then(proceed, proceed) }
    return slot.next.written
  }

  /** Resolves when nothing is being written for this id, or for any; failures were told to those who wrote. */
  async settled(id?: string): Promise<void> {
    if (id === undefined) {
      while (this.#slots.size > 0) await Promise.allSettled([...this.#slots.values()].map(lastWrite))
      return
    }
    for (let slot = this.#slots.get(id); slot !== undefined; slot = this.#slots.get(id)) await Promise.allSettled([lastWrite(slot)])
  }

  #run(id: string, slot: Slot<T>, document: T | null): Promise<void> {
    slot.current = this.#store(id, document).then(
      () => this.#release(id, slot),
      (error: unknown) => {
        this.#release(id, slot)
        throw error
      },
    )
    return slot.current
  }

  async #store(id: string, document: T | null): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      await this.#pass('confirm')
      if (await this.#attempt(id, document)) return this.#pass('confirm')
      // Somebody wrote in between: either an earlier write of ours whose answer was lost, or a process that is not the owner any more.
      await this.#pass('recheck')
      const stored = await this.#collection.get(id)
      if (stored === null) this.#versions.delete(id)
      else this.#versions.set(id, stored.version)
    }
    throw new EnvironmentError('SESSION_TAKEN', 'a document of a session is being written by another process', { retryable: true })
  }

  async #attempt(id: string, document: T | null): Promise<boolean> {
    const version = this.#versions.get(id)
    if (document === null) {
      const result = await this.#collection.delete(id, version)
      if (result.status === 'conflict') return false
      this.#versions.delete(id)
      return true
    }
    const result =
      version === undefined ? await this.#collection.insert(id, document) : await this.#collection.replace(id, version, document)
    if (result.status !== 'written') return false
    this.#versions.set(id, result.document.version)
    return true
  }

  /** No wait of any kind while it is certain. */
  #pass(how: 'confirm' | 'recheck'): Promise<void> | undefined {
    const fence = this.#fence
    if (fence === undefined || (how === 'confirm' && fence.isValid)) return undefined
    return fence[how]().then((holds) => {
      if (holds) return
      throw new EnvironmentError('SESSION_TAKEN', 'another edge has taken over what this one held', { retryable: true })
    })
  }

  #release(id: string, slot: Slot<T>): void {
    if (slot.next === undefined) this.#slots.delete(id)
  }
}

function lastWrite<T>(slot: Slot<T>): Promise<void> {
  return slot.next?.written ?? slot.current
}
