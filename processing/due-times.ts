/** What is kept of a device; its place in the order costs nothing beyond. */
export interface Due {
  key: string
  partition: number
  /** From then on there is something to do, epoch ms. */
  dueMs: number
  /** Since when its operators may count, epoch ms. */
  sinceMs: number
}

const FIRST_CAPACITY = 1_024

/**
 * Devices by the time at which they are due: a binary heap of slots over typed arrays, with each slot's place in it, so that a device is
 * moved or removed at once and nothing dead stays behind. Slots are dense.
 */
export class DueTimes {
  readonly #max: number
  readonly #slots = new Map<string, number>()
  readonly #keys: string[] = []
  #dueMs = new Float64Array(0)
  #sinceMs = new Float64Array(0)
  #partitions = new Int32Array(0)
  /** Slots, the earliest first. */
  #heap = new Int32Array(0)
  /** Where in the heap a slot is. */
  #places = new Int32Array(0)

  /** Holds at most `max` devices. */
  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#keys.length
  }

  /** Enters a device, or replaces what is kept of it. False: there is no room for one more. */
  set({ key, partition, dueMs, sinceMs }: Due): boolean {
    let slot = this.#slots.get(key)
    if (slot === undefined) {
      if (this.size >= this.#max) return false
      slot = this.size
      if (slot === this.#heap.length) this.#grow()
      const own = ownCopy(key)
      this.#slots.set(own, slot)
      this.#keys.push(own)
      this.#put(slot, slot)
    }
    this.#partitions[slot] = partition
    this.#sinceMs[slot] = sinceMs
    this.#dueMs[slot] = dueMs
    this.#settle(slot)
    return true
  }

  get(key: string): Due | undefined {
    const slot = this.#slots.get(key)
    return slot === undefined ? undefined : this.#at(slot)
  }

  /** The earliest; undefined when there is none. */
  first(): Due | undefined {
    return this.size === 0 ? undefined : this.#at(this.#heap[0]!)
  }

  delete(key: string): void {
    const slot = this.#slots.get(key)
    if (slot === undefined) return
    this.#slots.delete(key)
    const last = this.size - 1
    const place = this.#places[slot]!
    const moved = this.#heap[last]!
    const lastKey = this.#keys.pop()!
    if (moved !== slot) this.#put(moved, place)
    if (slot !== last) {
      // The last slot's device takes the one that is free.
      this.#slots.set(lastKey, slot)
      this.#keys[slot] = lastKey
      this.#partitions[slot] = this.#partitions[last]!
      this.#sinceMs[slot] = this.#sinceMs[last]!
      this.#dueMs[slot] = this.#dueMs[last]!
      this.#put(slot, this.#places[last]!)
    }
    if (place < last) this.#settle(this.#heap[place]!)
  }

  dropPartition(partition: number): void {
    // From the end: the slot that moves into a free one was looked at already.
    for (let slot = this.size - 1; slot >= 0; slot--) if (this.#partitions[slot] === partition) this.delete(this.#keys[slot]!)
  }

  #at(slot: number): Due {
    return {
      key: this.#keys[slot]!,
      partition: this.#partitions[slot]!,
      dueMs: this.#dueMs[slot]!,
      sinceMs: this.#sinceMs[slot]!,
    }
  }

  #put(slot: number, place: number): void {
    this.#heap[place] = slot
    this.#places[slot] = place
  }

  /** Brings a slot whose time changed to where it belongs. */
  #settle(slot: number): void {
    const dueMs = this.#dueMs[slot]!
    let place = this.#places[slot]!
    while (place > 0) {
      const parent = this.#heap[(place - 1) >> 1]!
      if (this.#dueMs[parent]! <= dueMs) break
      this.#put(parent, place)
      place = (place - 1) >> 1
    }
    for (;;) {
      const left = 2 * place + 1
      if (left >= this.size) break
      const isRight = left + 1 < this.size && this.#dueMs[this.#heap[left + 1]!]! < this.#dueMs[this.#heap[left]!]!
      const child = isRight ? left + 1 : left
      if (this.#dueMs[this.#heap[child]!]! >= dueMs) break
      this.#put(this.#heap[child]!, place)
      place = child
    }
    this.#put(slot, place)
  }

  #grow(): void {
    const capacity = Math.min(this.#max, Math.max(FIRST_CAPACITY, this.#heap.length * 2))
    this.#dueMs = copied(this.#dueMs, new Float64Array(capacity))
    this.#sinceMs = copied(this.#sinceMs, new Float64Array(capacity))
    this.#partitions = copied(this.#partitions, new Int32Array(capacity))
    this.#heap = copied(this.#heap, new Int32Array(capacity))
    this.#places = copied(this.#places, new Int32Array(capacity))
  }
}

/** A key put together of parts of what was decoded would keep all of that in memory. */
function ownCopy(key: string): string {
  return Buffer.from(key).toString()
}

function copied<T extends Float64Array | Int32Array>(from: T, into: T): T {
  into.set(from)
  return into
}
