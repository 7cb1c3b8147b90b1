import { messageOf } from '../api/client.ts'
import type { Page } from '../api/types.ts'

/** Items kept at most: a list that was paged on and on stays bounded. */
const ITEMS_MAX = 2_000

export type LoadPage<T> = (cursor: string | undefined, signal: AbortSignal) => Promise<Page<T>>

/** A list that is loaded page by page. Only the latest request counts. */
export class Paged<T> {
  items = $state.raw<T[]>([])
  next = $state<string | null>(null)
  loading = $state(false)
  loaded = $state(false)
  error = $state('')
  readonly #load: LoadPage<T>
  #abort = new AbortController()

  constructor(load: LoadPage<T>) {
    this.#load = load
  }

  /** From the beginning; what is shown stays until the answer is here. */
  reload(): Promise<void> {
    return this.#request(undefined)
  }

  /** Forgets what is shown first: for another question. */
  reset(): Promise<void> {
    this.items = []
    this.loaded = false
    this.next = null
    return this.reload()
  }

  more(): Promise<void> {
    return this.next === null || this.loading ? Promise.resolve() : this.#request(this.next)
  }

  stop(): void {
    this.#abort.abort()
  }

  async #request(cursor: string | undefined): Promise<void> {
    this.#abort.abort()
    const abort = new AbortController()
    this.#abort = abort
    this.loading = true
    try {
      const page = await this.#load(cursor, abort.signal)
      if (abort.signal.aborted) return
      this.items = cursor === undefined ? page.items : [...this.items, ...page.items].slice(0, ITEMS_MAX)
      this.next = this.items.length >= ITEMS_MAX ? null : page.next
      this.error = ''
      this.loaded = true
    } catch (error) {
      if (abort.signal.aborted) return
      this.error = messageOf(error)
    } finally {
      if (this.#abort === abort) this.loading = false
    }
  }
}
