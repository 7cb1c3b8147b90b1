import { ApiError, messageOf } from '../api/client.ts'

/** One thing that is fetched. Only the latest request counts; a failed refresh keeps what is shown. */
export class Resource<T> {
  value = $state.raw<T | undefined>(undefined)
  loading = $state(false)
  error = $state('')
  /** The API says that there is no such thing. */
  missing = $state(false)
  readonly #load: (signal: AbortSignal) => Promise<T>
  #abort = new AbortController()

  constructor(load: (signal: AbortSignal) => Promise<T>) {
    this.#load = load
  }

  async load(): Promise<void> {
    this.#abort.abort()
    const abort = new AbortController()
    this.#abort = abort
    this.loading = true
    try {
      const value = await this.#load(abort.signal)
      if (abort.signal.aborted) return
      this.value = value
      this.error = ''
      this.missing = false
    } catch (error) {
      if (abort.signal.aborted) return
      this.error = messageOf(error)
      this.missing = error instanceof ApiError && error.status === 404
    } finally {
      if (this.#abort === abort) this.loading = false
    }
  }

  stop(): void {
    this.#abort.abort()
  }
}
