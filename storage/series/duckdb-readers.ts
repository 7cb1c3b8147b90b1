import type { DuckDBConnection, DuckDBPreparedStatement, DuckDBValue } from '@duckdb/node-api'
import { EnvironmentError, TimeoutError } from '../../kernel/errors.ts'
import { BoundedQueue } from '../../kernel/bounded-queue.ts'
import type { Clock, Timer } from '../../kernel/time.ts'

/** A value bound to a statement: text, a safe integer, or nothing. */
export type Parameter = string | number
export type Row = readonly DuckDBValue[]

/** What a query may do with the connection it was lent. */
export interface Query {
  /** Runs one statement with `$1`… bound. Integers are bound as BIGINT, so that comparisons stay exact and indexes on blocks work. */
  rows(statement: string, parameters: readonly Parameter[]): Promise<Row[]>
  readonly sql: DuckDBConnection
}

export interface ReadersOptions {
  clock: Clock
  queryTimeoutMs: number
  readQueueMax: number
}

const INTERRUPT_AGAIN_MS = 20

/** A few connections for queries, lent to one query at a time; a query that takes too long is interrupted. */
export class Readers {
  readonly #options: ReadersOptions
  readonly #connections: readonly DuckDBConnection[]
  readonly #idle: DuckDBConnection[]
  readonly #waiting: BoundedQueue<(connection: DuckDBConnection) => void>
  readonly #onEnd: (() => void)[] = []
  #closed = false

  constructor(connections: readonly DuckDBConnection[], options: ReadersOptions) {
    this.#connections = connections
    this.#idle = [...connections]
    this.#options = options
    this.#waiting = new BoundedQueue('queue of series queries (series.readQueueMax)', options.readQueueMax)
  }

  /** TimeoutError after `queryTimeoutMs` of running; LimitError when too many wait. */
  async run<T>(what: string, run: (query: Query) => Promise<T>): Promise<T> {
    const connection = this.#idle.pop() ?? (await this.#wait())
    try {
      if (this.#closed)
        throw new EnvironmentError('STORE_STOPPED', `the series store closed before it could ${what}`, {
          remedy: 'Ask again after the restart.',
        })
      return await bounded(connection, what, this.#options, run)
    } finally {
      this.#giveBack(connection)
    }
  }

  /** Resolves when one of the running queries has ended; at once when none runs. */
  async queryEnded(): Promise<void> {
    if (this.#idle.length < this.#connections.length) await new Promise<void>((resolve) => this.#onEnd.push(resolve))
  }

  /** Interrupts running queries, turns waiting ones away, and resolves when none is left. */
  async close(): Promise<void> {
    this.#closed = true
    const interrupting = interruptUntilCancelled(this.#connections, this.#options.clock, 0)
    while (this.#idle.length < this.#connections.length) await this.queryEnded()
    interrupting.cancel()
  }

  #wait(): Promise<DuckDBConnection> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #giveBack(connection: DuckDBConnection): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#idle.push(connection)
    else next(connection)
    for (const resolve of this.#onEnd.splice(0)) resolve()
  }
}

/** Runs a query on a connection of one's own, interrupting it after the timeout. */
export async function bounded<T>(
  sql: DuckDBConnection,
  what: string,
  options: { clock: Clock; queryTimeoutMs: number },
  run: (query: Query) => Promise<T>,
): Promise<T> {
  const deadlineMs = options.clock.monotonicMs() + options.queryTimeoutMs
  const timedOut = (): boolean => options.clock.monotonicMs() >= deadlineMs
  const late = (): TimeoutError =>
    new TimeoutError(`${what} took longer than ${options.queryTimeoutMs} ms (series.queryTimeoutMs)`, {
      remedy: 'Ask for a shorter time or one device.',
    })
  const interrupting = interruptUntilCancelled([sql], options.clock, options.queryTimeoutMs)
  const rows = async (statement: string, parameters: readonly Parameter[]): Promise<Row[]> => {
    if (timedOut()) throw late()
    return await fetchRows(sql, statement, parameters)
  }
  try {
    return await run({ rows, sql })
  } catch (error) {
    if (timedOut() && !(error instanceof TimeoutError)) throw new TimeoutError(late().message, { cause: error })
    throw error
  } finally {
    interrupting.cancel()
  }
}

/** DuckDB forgets an interrupt that comes while no statement runs (between two, or while one waits for a thread), so it is repeated. */
function interruptUntilCancelled(connections: readonly DuckDBConnection[], clock: Clock, delayMs: number): Timer {
  let timer: Timer | undefined
  const interrupt = (): void => {
    for (const connection of connections) connection.interrupt()
    timer = clock.after(INTERRUPT_AGAIN_MS, interrupt)
  }
  if (delayMs > 0) timer = clock.after(delayMs, interrupt)
  else interrupt()
  return { cancel: () => timer?.cancel() }
}

async function fetchRows(sql: DuckDBConnection, statement: string, parameters: readonly Parameter[]): Promise<Row[]> {
  const prepared: DuckDBPreparedStatement = await sql.prepare(statement)
  try {
    parameters.forEach((parameter, index) => {
      if (typeof parameter === 'string') prepared.bindVarchar(index + 1, parameter)
      else prepared.bindBigInt(index + 1, BigInt(parameter))
    })
    const result = await prepared.run()
    const rows: Row[] = []
    // Chunk by chunk (2048 rows), so that turning a large page into objects lets others run in between.
    for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
      for (const row of chunk.getRows()) rows.push(row)
    }
    return rows
  } finally {
    prepared.destroySync()
  }
}
