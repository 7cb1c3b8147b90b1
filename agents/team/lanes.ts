import { TimeoutError } from '../../kernel/errors.ts'

/** Lets some work at a time; whoever comes later waits in order, for as long as its signal allows. The number of those who wait is the caller's to bound. */
export class Lanes {
  #free: number
  readonly #waiting = new Set<() => void>()

  /** `lanes`: how many work at a time, 1 and more. */
  constructor(lanes: number) {
    this.#free = lanes
  }

  /** TimeoutError when the signal aborts before the turn comes. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) throw waitedInVain()
    if (this.#free > 0) this.#free--
    else await this.#turn(signal)
    try {
      return await work()
    } finally {
      const [next] = this.#waiting
      if (next === undefined) this.#free++
      else next()
    }
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(enter)
        reject(waitedInVain())
      }
      const enter = (): void => {
        this.#waiting.delete(enter)
        signal.removeEventListener('abort', leave)
        resolve()
      }
      this.#waiting.add(enter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}

function waitedInVain(): TimeoutError {
  return new TimeoutError('its turn did not come in time', { remedy: 'It is tried again.' })
}
