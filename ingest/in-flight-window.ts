interface Entry {
  acknowledge: () => void
  isDurable: boolean
}

/** Messages taken and not yet acknowledged, in the order in which they came: acknowledgements leave in that order [MQTT5-4.6.0-2]. */
export class InFlightWindow {
  readonly #entriesMax: number
  #entries: Entry[] = []
  #head = 0
  #whenRoom: (() => void)[] = []
  #whenEmpty: (() => void)[] = []

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax
  }

  get size(): number {
    return this.#entries.length - this.#head
  }

  /** Takes a message; the function answered says that it is durable. */
  add(acknowledge: () => void): () => void {
    const entry = { acknowledge, isDurable: false }
    this.#entries.push(entry)
    return () => {
      entry.isDurable = true
      this.#release()
    }
  }

  /** Calls back at once while there is room, else when there is: until then nothing more is to be read. */
  onRoom(run: () => void): void {
    if (this.size < this.#entriesMax) run()
    else this.#whenRoom.push(run)
  }

  /** Resolves when nothing is in flight. */
  emptied(): Promise<void> {
    return this.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#whenEmpty.push(resolve))
  }

  #release(): void {
    for (let entry = this.#entries[this.#head]; entry?.isDurable === true; entry = this.#entries[++this.#head]) entry.acknowledge()
    if (this.#head > this.#entriesMax || this.size === 0) {
      this.#entries = this.#entries.slice(this.#head)
      this.#head = 0
    }
    while (this.#whenRoom.length > 0 && this.size < this.#entriesMax) this.#whenRoom.shift()?.()
    if (this.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve()
  }
}
