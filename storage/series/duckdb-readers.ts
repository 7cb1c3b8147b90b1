import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api'
import { EnvironmentError, LimitError, TimeoutError } from '../../kernel/errors.ts'
import { nextTurn, type Clock, type Timer } from '../../kernel/time.ts'
import { PreparedStatements } from './duckdb-prepared.ts'

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

/** Statements that one connection keeps prepared: readings of some types with some bounds. */
const STATEMENTS_MAX = 64

/** A connection with what is prepared on it. */
interface Lent {
  readonly sql: DuckDBConnection
  readonly statements: PreparedStatements
}
type Waiter = (connection: Lent) => void

/** A few connections for queries, lent to one query at a time; a query that takes too long, or that nobody waits for any more, is interrupted. */
export class Readers {
  readonly #options: ReadersOptions
  readonly #connections: readonly Lent[]
  readonly #idle: Lent[]
  /** First in, first out; who gives up leaves it. */
  readonly #waiting = new Set<Waiter>()
  readonly #onEnd: (() => void)[] = []
  #closed = false

  constructor(connections: readonly DuckDBConnection[], options: ReadersOptions) {
    this.#connections = connections.map((sql) => ({ sql, statements: new PreparedStatements(sql, STATEMENTS_MAX) }))
    this.#idle = [...this.#connections]
    this.#options = options
  }

  /** TimeoutError after `queryTimeoutMs` of running, and when the signal aborts, waiting or running; LimitError when too many wait. */
  async run<T>(what: string, run: (query: Query) => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted === true) throw givenUp(what)
    const connection = this.#idle.pop() ?? (await this.#wait(what, signal))
    try {
      if (this.#closed)
        throw new EnvironmentError('STORE_STOPPED', `the series store closed before it could ${what}`, {
          remedy: 'Ask again after the restart.',
        })
      const { statements, sql } = connection
      return await bounded(sql, what, { ...this.#options, statements, ...(signal === undefined ? {} : { signal }) }, run)
    } finally {
      this.#giveBack(connection)
    }
  }

  /** Resolves when one of the running queries has ended; at once when none runs. */
  async queryEnded(): Promise<void> {
    if (this.#idle.length < this.#connections.length) await new Promise<void>((resolve) => this.#onEnd.push(resolve))
  }

  /** Interrupts running queries, turns waiting ones away, and resolves when none is left and nothing is prepared any more. */
  async close(): Promise<void> {
    this.#closed = true
    const connections = this.#connections.map(({ sql }) => sql)
    const interrupting = interruptUntilCancelled(connections, this.#options.clock, 0)
    while (this.#idle.length < this.#connections.length) await this.queryEnded()
    interrupting.cancel()
    for (const { statements } of this.#connections) statements.close()
  }

  #wait(what: string, signal: AbortSignal | undefined): Promise<Lent> {
    const { readQueueMax } = this.#options
    if (this.#waiting.size >= readQueueMax)
      throw new LimitError(`queue of series queries (series.readQueueMax) is full (${readQueueMax} items)`)
    return new Promise((resolve, reject) => {
      const waiter: Waiter = (connection) => {
        signal?.removeEventListener('abort', leave)
        resolve(connection)
      }
      const leave = (): void => {
        this.#waiting.delete(waiter)
        reject(givenUp(what))
      }
      this.#waiting.add(waiter)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }

  #giveBack(connection: Lent): void {
    const [next] = this.#waiting
    if (next === undefined) this.#idle.push(connection)
    else {
      this.#waiting.delete(next)
      next(connection)
    }
    for (const resolve of this.#onEnd.splice(0)) resolve()
  }
}

/** Runs a query on a connection of one's own, interrupting it after the timeout and when the signal aborts. */
export async function bounded<T>(
  sql: DuckDBConnection,
  what: string,
  options: { clock: Clock; queryTimeoutMs: number; statements?: PreparedStatements; signal?: AbortSignal },
  run: (query: Query) => Promise<T>,
): Promise<T> {
  const { clock, queryTimeoutMs, signal } = options
  const statements = options.statements ?? new PreparedStatements(sql, 0)
  const deadlineMs = clock.monotonicMs() + queryTimeoutMs
  const over = (cause?: unknown): TimeoutError | null => {
    if (signal?.aborted === true) return givenUp(what, cause)
    return clock.monotonicMs() >= deadlineMs ? late(what, queryTimeoutMs, cause) : null
  }
  const interrupting = interruptUntilCancelled([sql], clock, queryTimeoutMs, signal)
  const rows = async (statement: string, parameters: readonly Parameter[]): Promise<Row[]> => {
    const why = over()
    if (why !== null) throw why
    try {
      return await fetchRows(statements, statement, parameters)
    } catch (error) {
      // What tidies up after a statement that failed is not to be interrupted.
      interrupting.cancel()
      throw error
    }
  }
  try {
    return await run({ rows, sql })
  } catch (error) {
    throw error instanceof TimeoutError ? error : (over(error) ?? error)
  } finally {
    interrupting.cancel()
  }
}

function late(what: string, queryTimeoutMs: number, cause: unknown): TimeoutError {
  return new TimeoutError(`${what} took longer than ${queryTimeoutMs} ms (series.queryTimeoutMs)`, {
    remedy: 'Ask for a shorter time or one device.',
    ...(cause === undefined ? {} : { cause }),
  })
}

function givenUp(what: string, cause?: unknown): TimeoutError {
  return new TimeoutError(`${what}: who asked waits no longer`, cause === undefined ? {} : { cause })
}

/** DuckDB forgets an interrupt that comes while no statement runs (between two, or while one waits for a thread), so it is repeated. */
function interruptUntilCancelled(connections: readonly DuckDBConnection[], clock: Clock, delayMs: number, signal?: AbortSignal): Timer {
  let timer: Timer | undefined
  const interrupt = (): void => {
    timer?.cancel()
    for (const connection of connections) connection.interrupt()
    timer = clock.after(INTERRUPT_AGAIN_MS, interrupt)
  }
  signal?.addEventListener('abort', interrupt, { once: true })
  if (delayMs > 0) timer = clock.after(delayMs, interrupt)
  else interrupt()
  return {
    cancel: () => {
      signal?.removeEventListener('abort', interrupt)
      timer?.cancel()
    },
  }
}

async function fetchRows(statements: PreparedStatements, statement: string, parameters: readonly Parameter[]): Promise<Row[]> {
  const result = await statements.using(statement, (prepared) => {
    parameters.forEach((parameter, index) => {
      if (typeof parameter === 'string') prepared.bindVarchar(index + 1, parameter)
      else prepared.bindBigInt(index + 1, BigInt(parameter))
    })
    return prepared.run()
  })
  const rows: Row[] = []
  // Chunk by chunk (2048 rows), so that turning a large page into objects lets others run in between; they are in memory already.
  for (let index = 0; index < result.chunkCount; index++) {
    if (index > 0) await nextTurn()
    const chunk = result.getChunk(index)
    // By column, which takes a fifth of the time that asking for rows does.
    const columns = Array.from({ length: chunk.columnCount }, (_each, column) => chunk.getColumnVector(column).toArray())
    for (let row = 0; row < chunk.rowCount; row++) rows.push(columns.map((column) => column[row] as DuckDBValue))
  }
  return rows
}
