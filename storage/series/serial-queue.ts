import { LimitError } from '../../kernel/errors.ts'

/** Runs steps one after the other in the order asked for; a named bound on how many may wait. */
export class SerialQueue {
  readonly #name: string
  readonly #waitingMax: number
  #waiting = 0
  #tail: Promise<unknown> = Promise.resolve()

  constructor(name: string, waitingMax: number) {
    this.#name = name
    this.#waitingMax = waitingMax
  }

  /** Resolves or rejects as `step` does; LimitError when too many wait already. */
  run<T>(step: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.#waitingMax) {
      return Promise.reject(
        new LimitError(`${this.#name} is full (${this.#waitingMax} waiting)`, { remedy: 'Wait for earlier calls before making more.' }),
      )
    }
    return this.runRegardless(step)
  }

  /** As `run`, for the one step that may not be refused: stopping. */
  runRegardless<T>(step: () => Promise<T>): Promise<T> {
    this.#waiting++
    const done = this.#tail.then(step).finally(() => this.#waiting--)
    // The next step runs whatever became of this one; its caller has the error.
    this.#tail = done.then(
      () => undefined,
      () => undefined,
    )
    return done
  }
}
