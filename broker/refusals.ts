import type { Counter } from 'prom-client'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Clock } from '../kernel/time.ts'

/** Why somebody was not let in, or not let through. Small and fixed: it labels a metric. */
export type RefusalReason =
  | 'tls-handshake'
  | 'no-certificate'
  | 'unknown-ca'
  | 'certificate-expired'
  | 'certificate-invalid'
  | 'identity'
  | 'unknown-device'
  | 'suspended'
  | 'decommissioned'
  | 'certificate-revoked'
  | 'credential-lapsed'
  | 'factory-refused'
  | 'claim-request'
  | 'client-id'
  | 'foreign-topic'
  | 'foreign-filter'
  | 'foreign-will'
  | 'connections-max'
  | 'connections-per-device-max'
  | 'connect-rate'
  | 'subscriptions-max'
  | 'sessions-max'
  | 'session-queue-full'
  | 'all-queues-full'
  | 'retained-per-device'
  | 'retained-bytes-per-device'
  | 'retained-bytes'
  | 'websocket'
  | 'packet'
  | 'uplink-failed'
  | 'session-taken'
  | 'store-failed'
  | 'broker-error'

/** What is known of whom it happened to. */
export interface RefusalContext {
  tenant?: string
  device?: string
  remoteAddress?: string | undefined
  listener?: string
  /** One sentence; never bytes a peer chose, unless they passed a check. */
  detail?: string
  [key: string]: unknown
}

/** Counts every refusal by reason and logs it, at most so many a second and reason; what was not logged is summed up. */
export class Refusals {
  readonly #counter: Counter<'reason'>
  readonly #log: Logger
  readonly #clock: Clock
  readonly #logsPerS: number
  readonly #onNote: (reason: RefusalReason, context: RefusalContext) => void
  readonly #windows = new Map<RefusalReason, { startMs: number; logged: number; left: number }>()

  constructor(options: {
    metrics: Metrics
    log: Logger
    clock: Clock
    logsPerS: number
    /** Told of each; may not throw. */
    onNote?: ((reason: RefusalReason, context: RefusalContext) => void) | undefined
  }) {
    this.#counter = options.metrics.counter('broker_refusals_total', 'Connections, publishes and subscriptions refused, by reason', [
      'reason',
    ])
    this.#log = options.log
    this.#clock = options.clock
    this.#logsPerS = options.logsPerS
    this.#onNote = options.onNote ?? (() => undefined)
  }

  note(reason: RefusalReason, context: RefusalContext): void {
    this.#counter.inc({ reason })
    this.#onNote(reason, context)
    const window = this.#window(reason)
    if (window.logged >= this.#logsPerS) {
      window.left++
      return
    }
    window.logged++
    this.#log.warn({ reason, ...context }, 'refused')
  }

  /** Logs what was left out so far. */
  flush(): void {
    for (const [reason, window] of this.#windows) this.#sumUp(reason, window)
  }

  #window(reason: RefusalReason): { startMs: number; logged: number; left: number } {
    const nowMs = this.#clock.monotonicMs()
    let window = this.#windows.get(reason)
    if (window === undefined || nowMs - window.startMs >= 1_000) {
      if (window !== undefined) this.#sumUp(reason, window)
      window = { startMs: nowMs, logged: 0, left: 0 }
      this.#windows.set(reason, window)
    }
    return window
  }

  #sumUp(reason: RefusalReason, window: { left: number }): void {
    if (window.left > 0) this.#log.warn({ reason, count: window.left }, 'refused more that were not logged one by one')
    window.left = 0
  }
}
