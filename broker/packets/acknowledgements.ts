import { PUBACK } from './packet-types.ts'
import { writeUint16 } from './framing.ts'

const PUBACK_BYTES = 4

/** Room at first, in bytes: a turn's acknowledgements of one device mostly fit. */
const INITIAL_BYTES = 32 * PUBACK_BYTES

/** PUBACKs (§3.4) to be sent in one piece: those of a turn of the event loop share a TLS record. */
export class Acknowledgements {
  #bytes = Buffer.alloc(0)
  #size = 0

  /** Adds one; true when it is the first since `take`. */
  add(messageId: number): boolean {
    const at = this.#size
    if (at + PUBACK_BYTES > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(INITIAL_BYTES, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    this.#bytes[at] = PUBACK << 4
    this.#bytes[at + 1] = 2
    writeUint16(this.#bytes, at + 2, messageId)
    this.#size = at + PUBACK_BYTES
    return at === 0
  }

  get isEmpty(): boolean {
    return this.#size === 0
  }

  /** All of them, as bytes that belong to the caller. */
  take(): Buffer {
    const taken = Buffer.from(this.#bytes.subarray(0, this.#size))
    this.#size = 0
    return taken
  }
}
