import { TOPICS } from '../../contracts/topics.ts'
import { describeError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Consumer, EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import type { LogPlace } from '../persistence/log-place.ts'
import type { EdgesConfig } from './config.ts'
import type { Positions } from './edge-documents.ts'

export interface CommandFeedOptions {
  eventLog: EventLog
  clock: Clock
  log: Logger
  config: EdgesConfig
  /**
   * Handles one record; records of one key come one after the other. A throw makes the whole batch come again after a pause. `isLate`: it
   * comes by `catchUp`.
   */
  onRecord: (record: LogRecord, isLate: boolean) => Promise<void>
}

/**
 * The consumer begins this long before now and passes over what was handled: engines place a new consumer only when it first polls, and
 * what came in between must not be missed. More than clocks of one installation differ.
 */
const OVERLAP_MS = 60_000

/**
 * Follows the topic of commands: every edge sees every record, and handles those of the devices that it holds. `positions` say how far it
 * is, for all devices at once; who changes hands with another edge does so between two batches, and is caught up.
 */
export class CommandFeed {
  readonly #options: CommandFeedOptions
  readonly #positions = new Map<number, number>()
  /** Devices whose earlier holders were further than this edge is. */
  readonly #ahead = new Map<string, Positions>()
  readonly #stopping = new AbortController()
  #turn: Promise<unknown> = Promise.resolve()
  #consumer: Consumer | undefined
  #loop: Promise<void> | undefined

  constructor(options: CommandFeedOptions) {
    this.#options = options
  }

  get positions(): Positions {
    return Object.fromEntries([...this.#positions].map(([partition, next]) => [String(partition), next]))
  }

  /** Every record of this device before these was handled, by this edge or by earlier holders. */
  positionsOf(key: string): Positions {
    return furthest(this.positions, this.#ahead.get(key) ?? {})
  }

  /** Joins the topic. Nothing is handled before `run`; then all from `from` on, or what comes from now on. */
  async start(from: Positions | undefined): Promise<void> {
    const { eventLog, clock } = this.#options
    const nowMs = clock.nowMs()
    // The one place that names a group, which an engine may want: nobody else is in it, and it commits nothing.
    const group = `edge-commands-${newId(nowMs)}`
    this.#consumer = await eventLog.consume({ group, topic: TOPICS.commands, from: { timestampMs: nowMs - OVERLAP_MS } })
    const bounds = await eventLog.bounds(TOPICS.commands)
    for (const [partition, { first, next }] of bounds)
      this.#positions.set(partition, from === undefined ? next : (from[partition] ?? first))
  }

  run(): void {
    this.#loop ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#consumer?.close()
    await this.#loop
  }

  /** Runs `task` while no record is being handled: positions stand still. */
  exclusive<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(task)
    this.#turn = run.catch(() => undefined)
    return run
  }

  /**
   * Brings devices to where this edge is: handles their records from `from` on, and passes over those that earlier holders handled and
   * this edge has not come to yet. Only within `exclusive`.
   */
  async catchUp(from: ReadonlyMap<string, Positions>): Promise<void> {
    const starts = new Map<number, number>()
    for (const [key, positions] of from) {
      this.passOver(key, positions)
      for (const [partition, mine] of this.#positions) {
        const theirs = positions[partition]
        if (theirs !== undefined && theirs < mine) starts.set(partition, Math.min(theirs, starts.get(partition) ?? theirs))
      }
    }
    for (const [partition, start] of starts) {
      await this.#read(partition, start, this.#positions.get(partition) ?? start, async (records) => {
        for (const record of records) {
          const theirs = from.get(record.key)?.[partition]
          if (theirs !== undefined && record.offset >= theirs) await this.#options.onRecord(record, true)
        }
      })
    }
  }

  /** Notes how far earlier holders of a device were, in case this edge has not come so far. */
  passOver(key: string, positions: Positions): void {
    for (const [partition, mine] of this.#positions) if ((positions[partition] ?? 0) > mine) this.#ahead.set(key, positions)
  }

  /** Was this device's record handled by an earlier holder? */
  isAhead(key: string, { partition, offset }: LogPlace): boolean {
    const positions = this.#ahead.get(key)
    return positions !== undefined && offset < (positions[partition] ?? 0)
  }

  async #run(): Promise<void> {
    await this.#begin()
    const { config } = this.#options
    while (!this.#stopping.signal.aborted) {
      await this.#trying(async () => {
        const startedMs = this.#options.clock.monotonicMs()
        const records = (await this.#consumer?.poll(config.followRecordsMax, config.followWaitMs)) ?? []
        await this.#trying(() => this.exclusive(() => this.#handle(records)))
        // A consumer that was closed from outside answers at once, and the loop must not spin on it.
        if (records.length === 0 && this.#options.clock.monotonicMs() - startedMs < config.followWaitMs) await this.#pause()
      })
    }
  }

  /** What came between the positions it starts from and now. */
  async #begin(): Promise<void> {
    await this.#trying(async () => {
      const bounds = await this.#options.eventLog.bounds(TOPICS.commands)
      for (const [partition, { next }] of bounds) {
        const from = this.#positions.get(partition) ?? next
        await this.#read(partition, from, next, (records) => this.exclusive(() => this.#handle(records)))
      }
    })
  }

  async #read(partition: number, from: number, to: number, take: (records: readonly LogRecord[]) => Promise<void>): Promise<void> {
    const { eventLog, config } = this.#options
    for (let at = from; at < to && !this.#stopping.signal.aborted;) {
      const records = (await eventLog.read(TOPICS.commands, partition, at, config.followRecordsMax)).filter(({ offset }) => offset < to)
      const last = records.at(-1)
      if (last === undefined) return
      await take(records)
      at = last.offset + 1
    }
  }

  /** Records of one device in their order, of several beside each other. */
  async #handle(records: readonly LogRecord[]): Promise<void> {
    const byKey = new Map<string, LogRecord[]>()
    for (const record of records) {
      if (record.offset < (this.#positions.get(record.partition) ?? 0)) continue
      const known = byKey.get(record.key)
      if (known === undefined) byKey.set(record.key, [record])
      else known.push(record)
    }
    await Promise.all([...byKey.values()].map((own) => this.#handleInOrder(own)))
    for (const { partition, offset } of records) this.#positions.set(partition, Math.max(offset + 1, this.#positions.get(partition) ?? 0))
    this.#forgetReached()
  }

  async #handleInOrder(records: readonly LogRecord[]): Promise<void> {
    for (const record of records) await this.#options.onRecord(record, false)
  }

  #forgetReached(): void {
    for (const [key, positions] of this.#ahead) {
      const isReached = Object.entries(positions).every(([partition, next]) => (this.#positions.get(Number(partition)) ?? 0) >= next)
      if (isReached) this.#ahead.delete(key)
    }
  }

  /** Tries until it works or the feed is stopped. */
  async #trying(run: () => Promise<void>): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        return await run()
      } catch (error) {
        if (this.#stopping.signal.aborted) return
        this.#options.log.warn({ error: describeError(error) }, 'commands could not be read or handled, trying again')
        await this.#pause()
      }
    }
  }

  #pause(): Promise<void> {
    return sleep(this.#options.clock, this.#options.config.followRetryMs, this.#stopping.signal)
  }
}

/** The higher one per partition. */
export function furthest(a: Positions, b: Positions): Positions {
  const highest: Record<string, number> = { ...a }
  for (const [partition, next] of Object.entries(b)) highest[partition] = Math.max(next, highest[partition] ?? 0)
  return highest
}
