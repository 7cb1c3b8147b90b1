import pg from 'pg'
import { LimitError, TimeoutError, describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { withTimeout } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import type { QuestdbAddress } from './questdb-address.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import { stoppedError, toQuestdbError } from './questdb-errors.ts'

/** A value bound to a statement; bigint for microseconds. */
export type Parameter = string | number | bigint
export type Row = readonly unknown[]

const OID_LONG = 20
/** The server gives a statement up first; this is for a server that no longer says anything. */
const SILENCE_MS = 5_000
const IDLE_MS = 30_000

/** All our LONGs are safe integers: log positions, sequence numbers, microseconds of this era. */
const types = {
  getTypeParser: (oid: number, format?: 'text' | 'binary'): unknown =>
    oid === OID_LONG && format !== 'binary' ? Number : (pg.types.getTypeParser(oid, format) as unknown),
}

/** Statements over the PostgreSQL wire: a bounded pool, a timeout that the server keeps, parameters always bound. */
export class QuestdbSql {
  readonly #config: QuestdbConfig
  readonly #address: QuestdbAddress
  readonly #clock: Clock
  readonly #log: Logger
  #pool: pg.Pool | null = null

  constructor(options: { config: QuestdbConfig; address: QuestdbAddress; clock: Clock; log: Logger }) {
    this.#config = options.config
    this.#address = options.address
    this.#clock = options.clock
    this.#log = options.log
  }

  open(): void {
    const { readConnections, connectTimeoutMs, queryTimeoutMs, pgTls } = this.#config
    const { pgHost, pgPort, pgDatabase, pgUser, pgPassword, ca } = this.#address
    const pool = new pg.Pool({
      host: pgHost,
      port: pgPort,
      database: pgDatabase,
      user: pgUser,
      password: pgPassword.reveal(),
      ssl: pgTls ? { rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) } : false,
      max: readConnections,
      connectionTimeoutMillis: connectTimeoutMs,
      idleTimeoutMillis: IDLE_MS,
      options: `-c statement_timeout=${queryTimeoutMs}`,
      query_timeout: queryTimeoutMs + SILENCE_MS,
      types,
    })
    // A connection that breaks while nobody uses it; the next statement gets a new one.
    pool.on('error', (error) => this.#log.debug({ error: describeError(error) }, 'idle connection to QuestDB closed'))
    this.#pool = pool
  }

  /** The same statements, given up when the signal aborts: those that wait do not begin, one that runs loses its connection, and QuestDB ends it. */
  until(signal: AbortSignal | undefined): Pick<QuestdbSql, 'rows'> {
    if (signal === undefined) return this
    return { rows: (doing, text, parameters) => this.#rows(doing, text, parameters, signal) }
  }

  /** `doing` completes "cannot …" should it fail. */
  rows(doing: string, text: string, parameters: readonly Parameter[] = []): Promise<Row[]> {
    return this.#rows(doing, text, parameters)
  }

  async #rows(doing: string, text: string, parameters: readonly Parameter[] = [], signal?: AbortSignal): Promise<Row[]> {
    const pool = this.#pool
    if (pool === null) throw stoppedError()
    if (pool.waitingCount >= this.#config.readQueueMax + 1) {
      throw new LimitError(`queue of series queries (questdb.readQueueMax) is full (${this.#config.readQueueMax} waiting)`, {
        remedy: 'Wait for earlier calls before making more.',
      })
    }
    try {
      const query = { text, values: parameters as unknown[], rowMode: 'array' as const }
      const result = signal === undefined ? await pool.query(query) : await queryUntil(pool, query, signal)
      return result.rows as Row[]
    } catch (error) {
      if (signal?.aborted === true) throw new TimeoutError(`${doing}: who asked waits no longer`, { cause: error })
      throw this.#pool === null ? stoppedError() : toQuestdbError(error, doing, this.#address.pg)
    }
  }

  /** Lets what runs end, for at most `stopTimeoutMs`. */
  async close(): Promise<void> {
    const pool = this.#pool
    this.#pool = null
    if (pool === null) return
    try {
      await withTimeout(this.#clock, this.#config.stopTimeoutMs, 'queries to QuestDB that end', pool.end())
    } catch (error) {
      this.#log.warn({ error: describeError(error) }, 'left queries to QuestDB behind')
    }
  }
}

/** A connection is lent while the signal has not aborted; when it does, it is closed under its statement. Rejects at once then. */
async function queryUntil(pool: pg.Pool, query: pg.QueryArrayConfig, signal: AbortSignal): Promise<pg.QueryArrayResult> {
  signal.throwIfAborted()
  const ask = async (): Promise<pg.QueryArrayResult> => {
    const client = await pool.connect()
    let isLent = true
    const giveBack = (close: boolean): void => {
      if (isLent) client.release(close)
      isLent = false
    }
    const close = (): void => giveBack(true)
    signal.addEventListener('abort', close, { once: true })
    try {
      signal.throwIfAborted()
      return await client.query(query)
    } finally {
      signal.removeEventListener('abort', close)
      giveBack(false)
    }
  }
  return await new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', leave, { once: true })
    ask()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', leave))
  })
}
