/** Room for the first bytes of a packet; most fit. */
const FIRST_BYTES = 64

/** A packet that came in pieces. Room grows with what has come, never with what the length field promises. */
export class PartialPacket {
  #bytes: Buffer = Buffer.alloc(0)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The bytes so far are those before `size`; valid until the next call. */
  get bytes(): Buffer {
    return this.#bytes
  }

  append(from: Buffer, start: number, end: number): void {
    const size = this.#size + end - start
    if (size > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, size, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, this.#size)
      this.#bytes = grown
    }
    from.copy(this.#bytes, this.#size, start, end)
    this.#size = size
  }

  /** Hands the whole packet over and forgets it. */
  take(): Buffer {
    const packet = this.#bytes.subarray(0, this.#size)
    this.clear()
    return packet
  }

  clear(): void {
    this.#bytes = Buffer.alloc(0)
    this.#size = 0
  }
}
