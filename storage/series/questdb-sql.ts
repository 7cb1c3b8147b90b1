import pg from 'pg'
import { LimitError, describeError } from '../../kernel/errors.ts'
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

  /** `doing` completes "cannot …" should it fail. */
  async rows(doing: string, text: string, parameters: readonly Parameter[] = []): Promise<Row[]> {
    const pool = this.#pool
    if (pool === null) throw stoppedError()
    if (pool.waitingCount >= this.#config.readQueueMax + 1) {
      throw new LimitError(`queue of series queries (questdb.readQueueMax) is full (${this.#config.readQueueMax} waiting)`, {
        remedy: 'Wait for earlier calls before making more.',
      })
    }
    try {
      const result = await pool.query({ text, values: parameters as unknown[], rowMode: 'array' })
      return result.rows as Row[]
    } catch (error) {
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
