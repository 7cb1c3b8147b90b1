import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import { suspendedSentence, type AppliedLog } from './questdb-applied.ts'
import type { Rollups } from './questdb-rollups.ts'

/** Watches what is wrong with the store: writes that fail, a table whose log is suspended, a roll-up that is no longer kept right. */
export class QuestdbHealth {
  readonly #applied: AppliedLog
  readonly #rollups: Rollups
  readonly #tables: () => ReadonlySet<string>
  readonly #clock: Clock
  readonly #log: Logger
  readonly #intervalMs: number
  #timer: Timer | undefined
  #writing: string | null = null
  #found: string | null = null

  constructor(options: {
    applied: AppliedLog
    rollups: Rollups
    tables: () => ReadonlySet<string>
    clock: Clock
    log: Logger
    intervalMs: number
  }) {
    this.#applied = options.applied
    this.#rollups = options.rollups
    this.#tables = options.tables
    this.#clock = options.clock
    this.#log = options.log
    this.#intervalMs = options.intervalMs
  }

  /** One sentence with the remedy, or null when all is well. */
  get failing(): string | null {
    return this.#writing ?? this.#found
  }

  start(): void {
    this.#timer = every(
      this.#clock,
      this.#intervalMs,
      () => this.check(),
      (error) => this.#log.error({ error: describeError(error) }, 'check of QuestDB failed'),
    )
  }
  stop(): void {
    this.#timer?.cancel()
    this.#writing = null
    this.#found = null
  }

  /** Of the last write: why it failed, or null when it went through. */
  wrote(error: unknown): void {
    this.#writing = error === null ? null : sentence(error)
  }

  /** Looks now. */
  async check(): Promise<void> {
    const before = this.#found
    try {
      this.#found = await this.#look()
    } catch (error) {
      this.#found = sentence(error)
    }
    if (this.#found === before) return
    if (this.#found === null) this.#log.info({}, 'QuestDB is well again')
    else this.#log.error({ error: this.#found }, 'QuestDB needs help')
  }

  async #look(): Promise<string | null> {
    const tables = this.#tables()
    const views = await this.#rollups.invalid(tables)
    const watched = new Set([...tables, ...(await this.#rollups.names(tables))])
    for (const [table, { suspended }] of await this.#applied.states(watched)) if (suspended) return suspendedSentence(table)
    const [invalid] = views
    if (invalid === undefined) return null
    return `QuestDB no longer refreshes roll-up ${invalid.view} (${invalid.reason}); answers come from the readings until REFRESH MATERIALIZED VIEW ${invalid.view} FULL`
  }
}

function sentence(error: unknown): string {
  const remedy = (error as { remedy?: unknown }).remedy
  return typeof remedy === 'string' ? `${describeError(error)}. ${remedy}` : describeError(error)
}
