/** From the end of one receipt to the next, in ms: each is stored, told to all who watch and audited, and people do not read faster than that. */
export const RECEIPT_GAP_MS = 2_000
/** The longest wait after receipts that failed, in ms: a platform that comes back is told within a minute. */
export const RECEIPT_RETRY_MAX_MS = 60_000

/** What receipts need of the page. */
export interface ReceiptDoor {
  /** Tells that everything up to this place was read. */
  say(seq: number): Promise<unknown>
  /** Asking again would be answered the same. */
  isRefusal(error: unknown): boolean
  /** A person can see the page now. */
  isSeen(): boolean
  after(delayMs: number, run: () => void): { cancel(): void }
}

/** Says how far a person read: one request at a time, some time apart, for everything up to the latest place, and only while the page is seen. */
export class ReadReceipts {
  readonly #door: ReceiptDoor
  #wanted = 0
  #said = 0
  #isAsking = false
  #rest: { cancel(): void } | undefined
  #failures = 0
  #isOver = false

  constructor(door: ReceiptDoor) {
    this.#door = door
  }

  /** Everything up to this place is shown. */
  upTo(seq: number): void {
    this.#wanted = Math.max(this.#wanted, seq)
    this.look()
  }

  /** The page may be seen again: says what is due. */
  look(): void {
    if (this.#isOver || this.#isAsking || this.#rest !== undefined) return
    if (this.#said < this.#wanted && this.#door.isSeen()) void this.#say(this.#wanted)
  }

  /** Says nothing more. */
  stop(): void {
    this.#isOver = true
    this.#rest?.cancel()
  }

  /** Never throws: what was read is told again later, or not at all. */
  async #say(seq: number): Promise<void> {
    this.#isAsking = true
    let restMs = RECEIPT_GAP_MS
    try {
      await this.#door.say(seq)
      this.#said = seq
      this.#failures = 0
    } catch (error) {
      if (this.#door.isRefusal(error)) this.#isOver = true
      restMs = Math.min(RECEIPT_RETRY_MAX_MS, RECEIPT_GAP_MS * 2 ** this.#failures++)
    }
    this.#isAsking = false
    if (this.#isOver) return
    this.#rest = this.#door.after(restMs, () => {
      this.#rest = undefined
      this.look()
    })
  }
}
