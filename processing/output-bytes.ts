/** Outputs lie in pieces of this size, one behind the other; a larger one has memory of its own. */
const SLAB_BYTES = 65_536
/** Pieces kept for later: what some 20 000 windows take, a large fleet's of a second. */
const FREE_SLABS_MAX = 128
const UTF8_BYTES_PER_UNIT = 3

/**
 * Memory for outputs until they are committed, then used again: each of them as memory of its own would outlive many young ones, and all that
 * an engine's memory grows by outside of its heap has the collector go through the whole heap, which in a large fleet takes seconds.
 */
export class OutputBytes {
  readonly #free: Buffer[] = []
  #slabs: Buffer[] = []
  #at = SLAB_BYTES

  /** The text in UTF-8: it holds until the pieces that `take` answers next are given back. */
  write(text: string): Buffer {
    const bytesMax = text.length * UTF8_BYTES_PER_UNIT
    if (bytesMax > SLAB_BYTES) return Buffer.from(text)
    if (this.#slabs.length === 0 || this.#at + bytesMax > SLAB_BYTES) {
      this.#slabs.push(this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES))
      this.#at = 0
    }
    const slab = this.#slabs[this.#slabs.length - 1] as Buffer
    const from = this.#at
    this.#at += slab.write(text, from)
    return slab.subarray(from, this.#at)
  }

  /** The pieces that hold what was written since the last call; what is written next lies in others. */
  take(): Buffer[] {
    const slabs = this.#slabs
    this.#slabs = []
    return slabs
  }

  /** Nobody reads from them any more. */
  giveBack(slabs: readonly Buffer[]): void {
    for (const slab of slabs) if (this.#free.length < FREE_SLABS_MAX) this.#free.push(slab)
  }
}
