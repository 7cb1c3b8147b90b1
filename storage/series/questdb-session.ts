import { StoreError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import type { Clock } from '../../kernel/time.ts'
import { questdbAddress, type QuestdbAddress } from './questdb-address.ts'
import { AppliedLog } from './questdb-applied.ts'
import { Catalogue } from './questdb-catalogue.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import { LineSender } from './questdb-http.ts'
import { Marks } from './questdb-marks.ts'
import { Rollups, type AnswerSource } from './questdb-rollups.ts'
import { QuestdbSql } from './questdb-sql.ts'
import { QuestdbTables } from './questdb-tables.ts'
import { QuestdbWriter } from './questdb-writer.ts'

/** Below this the line protocol has no binary doubles. */
const OLDEST = [9, 0, 3] as const

export interface QuestdbSessionOptions {
  config: QuestdbConfig
  clock: Clock
  random: Random
  log: Logger
  /** Told of each request of readings that is sent again. */
  onRetry: () => void
  /** Told where each downsampled answer came from. */
  onAnswer: (source: AnswerSource) => void
}

/** All that is open between a start and its stop. */
export class QuestdbSession {
  readonly address: QuestdbAddress
  readonly sql: QuestdbSql
  readonly applied: AppliedLog
  readonly sender: LineSender
  readonly catalogue: Catalogue
  readonly marks: Marks
  readonly tables: QuestdbTables
  readonly rollups: Rollups
  readonly writer: QuestdbWriter
  readonly #config: QuestdbConfig
  readonly #clock: Clock
  /** Tables that this process wrote and has not yet seen applied, with a number that changes at each write. */
  readonly #unseen = new Map<string, number>()
  #writes = 0
  #entries = 0
  #refreshedMs = -Infinity
  #refreshing: Promise<void> | null = null

  private constructor(options: QuestdbSessionOptions) {
    const { config, clock, log, onAnswer } = options
    const address = questdbAddress(config)
    const sql = new QuestdbSql({ config, address, clock, log })
    const applied = new AppliedLog(sql, clock)
    this.address = address
    this.sql = sql
    this.applied = applied
    this.sender = new LineSender({ ...options, address })
    this.catalogue = new Catalogue(config.tablePrefix, config.columnsMax)
    this.tables = new QuestdbTables({ sql, applied, config, clock, address: address.pg })
    this.marks = new Marks(this.tables.marksName)
    this.rollups = new Rollups({ sql, applied, config, clock, log, onAnswer })
    const onTable = (table: string): void => void this.#unseen.set(table, ++this.#writes)
    this.writer = new QuestdbWriter({ ...this.#parts(), requestBytesMax: config.requestBytesMax, onTable })
    this.#config = config
    this.#clock = clock
  }

  /** StoreError, naming server, address and remedy, when it cannot be used: not there, other credentials, too old, tables that are not ours. */
  static async open(options: QuestdbSessionOptions): Promise<QuestdbSession> {
    const session = new QuestdbSession(options)
    session.sql.open()
    session.sender.open()
    try {
      await session.#demandVersion()
      await session.sender.ping()
      await session.tables.prepare()
      await session.refresh(0)
      for (const { name, metrics } of session.catalogue.tables()) await session.tables.check(name, metrics)
      return session
    } catch (error) {
      await session.close()
      throw error
    }
  }

  async close(): Promise<void> {
    await this.sender.close()
    await this.sql.close()
  }

  /** Every table of ours. */
  tableNames(): Set<string> {
    return new Set([this.tables.catalogueName, this.tables.marksName, ...this.catalogue.tables().map(({ name }) => name)])
  }

  /** Takes in what other processes added, unless that was done less than `maxAgeMs` ago. */
  async refresh(maxAgeMs: number): Promise<void> {
    if (this.#clock.monotonicMs() - this.#refreshedMs < maxAgeMs) return
    if (maxAgeMs > 0 && this.#refreshing !== null) return await this.#refreshing
    this.#refreshing = this.#refresh().finally(() => (this.#refreshing = null))
    await this.#refreshing
  }

  /** Waits, within a bound, until queries see what this process wrote. */
  async settleOwn(timeoutMs: number): Promise<void> {
    if (this.#unseen.size === 0 || timeoutMs === 0) return
    const waited = new Map(this.#unseen)
    if ((await this.applied.wait(new Set(waited.keys()), timeoutMs)).status !== 'applied') return
    for (const [table, write] of waited) if (this.#unseen.get(table) === write) this.#unseen.delete(table)
  }

  /** Waits until queries see every write that has been resolved, of any process. Errors are retryable. */
  async settleAll(): Promise<void> {
    const { appliedTimeoutMs } = this.#config
    await this.applied.demand(new Set([this.tables.catalogueName, this.tables.marksName]), appliedTimeoutMs)
    await this.refresh(0)
    const names = this.tableNames()
    const listed = await this.applied.states(names)
    for (const name of names) if (!listed.has(name)) await this.tables.mend(name)
    await this.applied.demand(names, appliedTimeoutMs)
  }

  async #refresh(): Promise<void> {
    const count = await this.tables.entryCount()
    if (count !== this.#entries) this.catalogue.add(await this.tables.entries())
    this.#entries = count
    await this.marks.load(this.sql)
    this.#refreshedMs = this.#clock.monotonicMs()
  }

  async #demandVersion(): Promise<void> {
    const [row] = await this.sql.rows('ask for its version', 'SELECT build()')
    const found = /QuestDB (\d+)\.(\d+)\.(\d+)/.exec(String(row?.[0]))
    const version = found?.slice(1).map(Number) ?? []
    const different = OLDEST.findIndex((oldest, index) => version[index] !== oldest)
    if (found !== null && (different === -1 || (version[different] as number) > (OLDEST[different] as number))) return
    const said = found === null ? String(row?.[0]) : version.join('.')
    throw new StoreError('STORE_UNUSABLE', `QuestDB at ${this.address.pg} is ${said}, and ${OLDEST.join('.')} or newer is needed`, {
      remedy: 'Upgrade it, or name another server in questdb.pgUrl and questdb.httpUrl.',
    })
  }

  #parts(): { catalogue: Catalogue; marks: Marks; tables: QuestdbTables; sender: LineSender } {
    return { catalogue: this.catalogue, marks: this.marks, tables: this.tables, sender: this.sender }
  }
}
