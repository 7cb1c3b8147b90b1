import { Agent, request } from 'undici'
import type { Logger } from '../../kernel/log.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Random } from '../../kernel/random.ts'
import { retry } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import type { QuestdbAddress } from './questdb-address.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import { httpError, stoppedError, toQuestdbError } from './questdb-errors.ts'

const FACTOR = 2
const JITTER = 0.5
const NO_CONTENT = 204

export interface LineSenderOptions {
  config: QuestdbConfig
  address: QuestdbAddress
  clock: Clock
  random: Random
  log: Logger
  /** Told of each try that failed and will be repeated. */
  onRetry: () => void
}

/**
 * Sends lines over HTTP. QuestDB answers once they are committed to the log of each table; a request that fails leaves nothing, one whose
 * answer was lost may have left everything. It is sent again either way: a row that is there already replaces itself (DEDUP).
 */
export class LineSender {
  readonly #options: LineSenderOptions
  readonly #authorization: string
  #agent: Agent | null = null
  #stopping = new AbortController()

  constructor(options: LineSenderOptions) {
    this.#options = options
    const { httpUser, httpPassword } = options.address
    this.#authorization = `Basic ${Buffer.from(`${httpUser}:${httpPassword.reveal()}`).toString('base64')}`
  }

  open(): void {
    const { config, address } = this.#options
    const { requestTimeoutMs, connectTimeoutMs } = config
    this.#stopping = new AbortController()
    this.#agent = new Agent({
      connections: 1,
      pipelining: 1,
      headersTimeout: requestTimeoutMs,
      bodyTimeout: requestTimeoutMs,
      connect: { timeout: connectTimeoutMs, ...(address.ca === undefined ? {} : { ca: address.ca }) },
    })
  }

  /** Resolves when the lines are committed; the buffer must not change before that. */
  async send(lines: Uint8Array): Promise<void> {
    const { config, clock, random, log, onRetry } = this.#options
    const options = {
      clock,
      random,
      attemptsMax: config.writeAttemptsMax,
      initialMs: config.writeRetryInitialMs,
      maxMs: config.writeRetryMaxMs,
      factor: FACTOR,
      jitter: JITTER,
      signal: this.#stopping.signal,
    }
    await retry(
      {
        ...options,
        onRetry: (error, attempt) => {
          onRetry()
          log.debug({ error: describeError(error), attempt }, 'readings are sent to QuestDB again')
        },
      },
      () => this.#post(lines),
    )
  }

  /** StoreError when nothing takes lines there, or not from us. Nothing is written. */
  async ping(): Promise<void> {
    await this.#post(new Uint8Array())
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    const agent = this.#agent
    this.#agent = null
    await agent?.destroy()
  }

  async #post(lines: Uint8Array): Promise<void> {
    const { address } = this.#options
    if (this.#agent === null) throw stoppedError()
    let status: number
    let text: string
    try {
      const { statusCode, body } = await request(`${address.http}/write`, {
        method: 'POST',
        body: lines,
        headers: { authorization: this.#authorization, 'content-type': 'text/plain' },
        dispatcher: this.#agent,
      })
      status = statusCode
      text = await body.text()
    } catch (error) {
      throw this.#agent === null ? stoppedError() : toQuestdbError(error, 'store readings', address.http)
    }
    if (status !== NO_CONTENT) throw httpError(status, text, address.http)
  }
}
