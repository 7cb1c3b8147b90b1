import type { Catalogue } from './duckdb-catalogue.ts'
import { ChunkAppender } from './duckdb-chunk-appender.ts'
import { CHUNK_ROWS, Int32Column, Int64Column, TextColumn } from './duckdb-columns.ts'
import type { FileConnection } from './duckdb-file.ts'
import { bounded, type Query, type ReadersOptions } from './duckdb-readers.ts'
import { rollback } from './duckdb-transaction.ts'
import { MOVED_PARTITION, type ReadingIdentity } from './series-store.ts'

const CREATE_ASKED = `CREATE TEMP TABLE asked (number INTEGER, tenant VARCHAR, device VARCHAR, ts BIGINT, boot VARCHAR, seq BIGINT,
  log_partition INTEGER, log_offset BIGINT)`

/**
 * Answers which identities are stored, thousands at once: they are appended to a temporary table and joined with every type's table
 * in one statement. Has a connection of its own, because temporary tables belong to their connection. Not re-entrant.
 */
export class IdentityProbe {
  readonly #connection: FileConnection
  readonly #catalogue: Catalogue
  readonly #options: ReadersOptions
  readonly #number = new Int32Column()
  readonly #tenant = new TextColumn()
  readonly #device = new TextColumn()
  readonly #ts = new Int64Column()
  readonly #boot = new TextColumn()
  readonly #seq = new Int64Column()
  readonly #partition = new Int32Column()
  readonly #offset = new Int64Column()

  private constructor(connection: FileConnection, catalogue: Catalogue, options: ReadersOptions) {
    this.#connection = connection
    this.#catalogue = catalogue
    this.#options = options
  }

  static async open(connection: FileConnection, catalogue: Catalogue, options: ReadersOptions): Promise<IdentityProbe> {
    await connection.sql.run(CREATE_ASKED)
    return new IdentityProbe(connection, catalogue, options)
  }

  async contains(identities: readonly ReadingIdentity[]): Promise<boolean[]> {
    const answers = new Array<boolean>(identities.length).fill(false)
    if (identities.length === 0 || this.#catalogue.tables().length === 0) return answers
    await bounded(this.#connection.sql, 'looking up identities', this.#options, async (query) => {
      await query.sql.run('BEGIN')
      try {
        this.#append(identities)
        for (const number of await this.#stored(query, identities)) answers[number] = true
      } finally {
        // What was asked is forgotten with the transaction.
        await rollback(query.sql)
      }
    })
    return answers
  }

  interrupt(): void {
    this.#connection.sql.interrupt()
  }

  #append(identities: readonly ReadingIdentity[]): void {
    const columns = [this.#number, this.#tenant, this.#device, this.#ts, this.#boot, this.#seq, this.#partition, this.#offset]
    const asked = new ChunkAppender(this.#connection.raw, 'temp', 'asked', columns)
    for (let begin = 0; begin < identities.length; begin += CHUNK_ROWS) {
      const rows = Math.min(CHUNK_ROWS, identities.length - begin)
      for (let row = 0; row < rows; row++) this.#put(row, begin + row, identities[begin + row] as ReadingIdentity)
      asked.appendChunk(rows)
    }
    asked.close()
  }

  #put(row: number, number: number, identity: ReadingIdentity): void {
    this.#number.put(row, number)
    this.#tenant.put(row, identity.tenant)
    this.#device.put(row, identity.device)
    this.#ts.put(row, identity.ts)
    if (identity.boot !== null) this.#boot.put(row, identity.boot)
    if (identity.seq !== null) this.#seq.put(row, identity.seq)
    this.#partition.put(row, identity.partition)
    this.#offset.put(row, identity.offset)
  }

  /** Numbers of the identities that are stored. With a seq, boot and seq are part of the identity; without, neither is. */
  async #stored(query: Query, identities: readonly ReadingIdentity[]): Promise<number[]> {
    let fromTs = Infinity
    let toTs = -Infinity
    for (const { ts } of identities) {
      fromTs = Math.min(fromTs, ts)
      toTs = Math.max(toTs, ts)
    }
    const sources = this.#catalogue
      .tables()
      .map(({ quoted }) => `SELECT tenant, device, ts, boot, seq, log_partition, log_offset FROM ${quoted} WHERE ts BETWEEN $1 AND $2`)
    const rows = await query.rows(
      `SELECT DISTINCT a.number FROM temp.asked a JOIN (${sources.join(' UNION ALL ')}) s
         ON s.device = a.device AND s.ts = a.ts AND s.tenant = a.tenant
        AND (s.log_partition = a.log_partition AND s.log_offset < a.log_offset OR s.log_partition >= ${MOVED_PARTITION})
        AND s.seq IS NOT DISTINCT FROM a.seq
        AND (a.seq IS NULL OR s.boot IS NOT DISTINCT FROM a.boot)`,
      [fromTs, toTs],
    )
    return rows.map(([number]) => Number(number))
  }
}
