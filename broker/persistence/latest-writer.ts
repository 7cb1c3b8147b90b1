import type { Collection } from '../../storage/documents/documents.ts'

interface Slot<T> {
  current: Promise<void>
  next?: { document: T | null; written: Promise<void> }
}

/**
 * Writes documents whose latest state is all that counts: one write in flight per id, in order, and what changes meanwhile is
 * gathered into one next write. Memory is bounded by the callers' own bounds: at most two documents per id wait here.
 */
export class LatestWriter<T extends object> {
  readonly #collection: Collection<T>
  readonly #slots = new Map<string, Slot<T>>()

  constructor(collection: Collection<T>) {
    this.#collection = collection
  }

  /** Stores `document`, or deletes with null; resolves when this state (or a later one) is durable. */
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
    const stored: Promise<unknown> = document === null ? this.#collection.delete(id) : this.#collection.put(id, document)
    slot.current = stored.then(
      () => this.#release(id, slot),
      (error: unknown) => {
        this.#release(id, slot)
        throw error
      },
    )
    return slot.current
  }

  #release(id: string, slot: Slot<T>): void {
    if (slot.next === undefined) this.#slots.delete(id)
  }
}

function lastWrite<T>(slot: Slot<T>): Promise<void> {
  return slot.next?.written ?? slot.current
}
