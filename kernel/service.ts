import { describeError } from './errors.ts'
import type { Logger } from './log.ts'
import { withTimeout } from './retry.ts'
import type { Clock } from './time.ts'

/** Anything that runs: constructors do nothing, `start` is idempotent, `stop` drains within a bound and frees everything. */
export interface Service {
  readonly name: string
  start(): Promise<void>
  stop(): Promise<void>
}

/** Starts services in order and stops them in reverse; a failed start stops what had started. */
export class Lifecycle {
  readonly #started: Service[] = []
  readonly #log: Logger
  readonly #clock: Clock
  readonly #stopTimeoutMs: number

  /** `stopTimeoutMs` bounds each service's stop, so that one that hangs cannot hold the whole process. */
  constructor(options: { log: Logger; clock: Clock; stopTimeoutMs: number }) {
    this.#log = options.log
    this.#clock = options.clock
    this.#stopTimeoutMs = options.stopTimeoutMs
  }

  async start(service: Service): Promise<void> {
    try {
      await service.start()
      this.#started.push(service)
    } catch (error) {
      await this.stopAll()
      throw error
    }
  }

  async stopAll(): Promise<void> {
    for (let service = this.#started.pop(); service !== undefined; service = this.#started.pop()) {
      try {
        await withTimeout(this.#clock, this.#stopTimeoutMs, `stopping ${service.name}`, service.stop())
      } catch (error) {
        this.#log.error({ service: service.name, error: describeError(error) }, 'service did not stop cleanly')
      }
    }
  }
}
