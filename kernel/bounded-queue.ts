import { LimitError } from './errors.ts'

/** First in, first out, with a named bound: a full queue refuses instead of growing. */
export class BoundedQueue<T> {
  readonly #name: string
  readonly #itemsMax: number
  #items: T[] = []
  #head = 0

  constructor(name: string, itemsMax: number) {
    this.#name = name
    this.#itemsMax = itemsMax
  }
  get length(): number {
    return this.#items.length - this.#head
  }
  get isFull(): boolean {
    return this.length >= this.#itemsMax
  }
  /** Throws LimitError when full. */
  push(item: T): void {
    if (this.isFull) throw new LimitError(`${this.#name} is full (${this.#itemsMax} items)`)
    this.#items.push(item)
  }
  shift(): T | undefined {
    if (this.#head >= this.#items.length) return undefined
    const item = this.#items[this.#head] as T
    this.#items[this.#head++] = undefined as T
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
