import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents, Stored } from '../../storage/documents/documents.ts'
import type { WatchdogConfig } from './config.ts'
import { samplesOf } from './samples.ts'

/** Parts, and figures of each kind, that one pulse names. */
const ENTRIES_MAX = 200
const WHAT_LENGTH_MAX = 500
const LAG = 'fleetpulse_event_log_consumer_lag_messages'
const BREAKER = 'fleetpulse_ai_breaker_state'

/** How one process is, as it says itself: what /readyz and /metrics of it know and others have to. */
export interface PulseDocument {
  process: string
  targets: string[]
  /** Somebody in the process itself tells of parts that do not work. */
  tellsItself: boolean
  /** Grows with each pulse. */
  count: number
  /** By the process's own clock, epoch ms. */
  at: number
  notReady: { part: string; what: string }[]
  lags: { group: string; topic: string; messages: number }[]
  /** 0 closed, 1 half-open, 2 open. */
  breakers: { provider: string; state: number }[]
}
export type StoredPulse = PulseDocument & Stored
export const PULSES_COLLECTION: CollectionSpec = { name: 'platform-pulses', indexes: [] }

export interface PulseOptions {
  documents: Documents
  clock: Clock
  log: Logger
  config: WatchdogConfig
  processId: string
  targets: readonly string[]
  tellsItself: boolean
  /** False where another thread speaks for this process. */
  works?: boolean
  operations: { metricsText(): Promise<string>; notReady(): Promise<Record<string, string>> }
}

/** Writes down how this process is, again and again, for the watchdog of whichever process. One that stops in order takes its pulse away. */
export class Pulse implements Service {
  readonly name = 'pulse'
  readonly #options: PulseOptions
  #pulses: Collection<PulseDocument> | undefined
  #timer: Timer | undefined
  #beating: Promise<void> = Promise.resolve()
  #count = 0

  constructor(options: PulseOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { documents, clock, config, log, works = true } = this.#options
    if (this.#timer !== undefined || !works) return
    this.#pulses = await documents.collection<PulseDocument>(PULSES_COLLECTION)
    this.#timer = every(
      clock,
      config.pulseMs,
      () => (this.#beating = this.beat()),
      (error) => log.warn({ error: describeError(error) }, 'how this process is was not written down; the next time it is'),
    )
  }

  async stop(): Promise<void> {
    const { log, processId } = this.#options
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#beating.catch(() => undefined)
    try {
      await this.#pulses?.delete(processId)
    } catch (error) {
      log.warn({ error: describeError(error) }, 'the pulse of this process stays: it will be missed')
    }
    this.#pulses = undefined
  }

  async beat(): Promise<void> {
    const { operations, processId, targets, tellsItself, clock } = this.#options
    const [notReady, text] = await Promise.all([operations.notReady(), operations.metricsText()])
    const lags = samplesOf(text, LAG).map(({ labels, value }) => ({
      group: labels.group ?? '',
      topic: labels.topic ?? '',
      messages: value,
    }))
    const breakers = samplesOf(text, BREAKER).map(({ labels, value }) => ({ provider: labels.provider ?? '', state: value }))
    const parts = Object.entries(notReady).map(([part, what]) => ({ part, what: what.slice(0, WHAT_LENGTH_MAX) }))
    await this.#pulses?.put(processId, {
      ...{ process: processId, targets: [...targets], tellsItself, count: ++this.#count, at: clock.nowMs() },
      notReady: parts.slice(0, ENTRIES_MAX),
      // The worst ones, where there are more.
      lags: lags.toSorted((a, b) => b.messages - a.messages).slice(0, ENTRIES_MAX),
      breakers: breakers.slice(0, ENTRIES_MAX),
    })
  }
}
