import type { DuckDBConnection, DuckDBPreparedStatement } from '@duckdb/node-api'

/**
 * Statements prepared on one connection, the least recently used first out: preparing costs another way through the thread pool and the
 * event loop, which on a busy machine is half of a short query. DuckDB plans one anew by itself when a table has changed since. Not
 * re-entrant: one statement of a connection runs at a time.
 */
export class PreparedStatements {
  readonly #sql: DuckDBConnection
  readonly #statementsMax: number
  readonly #prepared = new Map<string, DuckDBPreparedStatement>()

  /** `statementsMax`: how many are kept, 0 and more. */
  constructor(sql: DuckDBConnection, statementsMax: number) {
    this.#sql = sql
    this.#statementsMax = statementsMax
  }

  /** Lends the statement of this text; one whose use fails is not used again. */
  async using<T>(text: string, use: (statement: DuckDBPreparedStatement) => Promise<T>): Promise<T> {
    const statement = this.#prepared.get(text) ?? (await this.#sql.prepare(text))
    this.#prepared.delete(text)
    try {
      const answer = await use(statement)
      this.#keep(text, statement)
      return answer
    } catch (error) {
      statement.destroySync()
      throw error
    }
  }

  /** Frees all: one that is left would hold the database open. */
  close(): void {
    for (const statement of this.#prepared.values()) statement.destroySync()
    this.#prepared.clear()
  }

  #keep(text: string, statement: DuckDBPreparedStatement): void {
    this.#prepared.set(text, statement)
    const [oldest] = this.#prepared
    if (this.#prepared.size <= this.#statementsMax || oldest === undefined) return
    this.#prepared.delete(oldest[0])
    oldest[1].destroySync()
  }
}
