import { packetLength } from './framing.ts'
import { PUBLISH } from './packet-types.ts'

/**
 * What the broker was given and has not answered yet, and what must wait for that.
 * At `inflightMax` QoS 1 and 2 publishes being processed, packets wait here, in order; half of them answered, the next ones go.
 */
export class Backlog {
  readonly #inflightMax: number
  readonly #deliver: (bytes: Buffer) => void
  #held: Buffer[] = []
  #heldBytes = 0
  #publishing = 0
  #owed = 0
  #releasing = false

  /** `deliver` takes whole packets, in order. */
  constructor(inflightMax: number, deliver: (bytes: Buffer) => void) {
    this.#inflightMax = inflightMax
    this.#deliver = deliver
  }

  /** Answers the broker owes: to PUBLISH, PUBREL, PUBREC, SUBSCRIBE and UNSUBSCRIBE. */
  get owed(): number {
    return this.#owed
  }

  /** QoS 1 and 2 publishes that the broker is processing. */
  get publishing(): number {
    return this.#publishing
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  get holding(): boolean {
    return this.#held.length > 0
  }

  expectAnswer(): void {
    this.#owed++
  }

  /** The broker answered one packet. */
  answered(): void {
    if (this.#owed > 0) this.#owed--
  }

  /** Counts a QoS 1 or 2 publish in; false when it has to be held, and with it all that follows. */
  admit(): boolean {
    if (this.#publishing >= this.#inflightMax) return false
    this.#publishing++
    return true
  }

  /** The broker acknowledged a publish. */
  published(): void {
    this.answered()
    if (this.#publishing > 0) this.#publishing--
    if (this.#held.length > 0 && this.#publishing <= this.#inflightMax >>> 1) this.#release()
  }

  hold(bytes: Buffer): void {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  clear(): void {
    this.#held = []
    this.#heldBytes = 0
  }

  #release(): void {
    // A reader that answers at once calls again from within `deliver`; the loop below sees to it.
    if (this.#releasing) return
    this.#releasing = true
    let taken = 0
    for (const bytes of this.#held) {
      const end = this.#admissible(bytes)
      if (end > 0) this.#deliver(bytes.subarray(0, end))
      this.#heldBytes -= end
      if (end < bytes.length) {
        this.#held[taken] = bytes.subarray(end)
        break
      }
      taken++
    }
    this.#held.splice(0, taken)
    this.#releasing = false
  }

  /** Where the first packet of `bytes` (whole packets) starts that has to be held on. */
  #admissible(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length) {
      const first = bytes[at]!
      if (first >>> 4 === PUBLISH && (first & 0x06) !== 0 && !this.admit()) break
      at += packetLength(bytes, at, bytes.length)
    }
    return at
  }
}
