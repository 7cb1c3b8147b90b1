import { setMaxListeners } from 'node:events'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { WebhooksConfig } from './config.ts'
import type { AttemptVerdict, DeliveryAttempts } from './delivery-attempt.ts'
import type { StoredDelivery } from './webhook-documents.ts'
import type { Notifiers } from '../notifiers/notifiers.ts'
import type { WebhookStore } from './webhook-store.ts'

/** Longest timer set; a later date is looked at again then (timers overflow after 24 days). */
const TIMER_MAX_MS = 3_600_000
/** Wait before an endpoint is looked at again after the store failed. */
const STORE_RETRY_MS = 1_000
/** Wait before looking again where something is due already: most often a try that is about to be claimed. */
const RECHECK_MS = 50
const PAGE_ITEMS = 200
/** A request unanswered for so long says that the endpoint may hang: most answer within a tenth of it. */
const SLOW_MS = 1_000
/** Beginning of what holds a slot before its delivery is known. */
const RESERVED = 'reserved-'

export interface DeliveryDispatcherOptions {
  store: WebhookStore
  attempts: DeliveryAttempts
  notifiers: Notifiers
  clock: Clock
  log: Logger
  metrics: Metrics
  config: WebhooksConfig
}

/** What takes deliveries as they are written. */
export interface DeliveryQueue {
  reserve(endpointId: string): DeliverySlot | null
  wake(endpointId: string, dueAtMs: number): void
}

/** A held slot; exactly one of the two is to be called. */
export interface DeliverySlot {
  /** The delivery must have been written as claimed: see `claimUntilMs`. */
  send(delivery: StoredDelivery): void
  release(): void
}

/** One endpoint's place in the traffic. */
interface Lane {
  endpointId: string
  /** What is under way or held, and since when (monotonic ms). */
  inFlight: Map<string, number>
  /** Requests it may have at a time: grows with each that is answered, so that an endpoint that hangs holds few from the beginning. */
  window: number
  /** Its last try failed. */
  failing: boolean
  /** Tries that failed in a row. */
  failures: number
  /** It failed too often and gets nothing until then, epoch ms; 0: it does. */
  restsUntil: number
  /** Waits in the queue for a slot. */
  queued: boolean
  timer: Timer | undefined
  timerAtMs: number
}

/**
 * Decides who sends when. Each endpoint is a lane with its own bound; lanes that are due take turns. Endpoints whose last try failed send
 * one at a time and share a part of the slots; others get more as they answer, and no more while they do not: so those that hang cannot hold
 * what the others need. Due dates live in the documents; the
 * timers here only mirror them, and a rescan finds what another process left behind.
 */
export class DeliveryDispatcher implements Service, DeliveryQueue {
  readonly name = 'webhook-dispatcher'
  readonly #options: DeliveryDispatcherOptions
  readonly #lanes = new Map<string, Lane>()
  readonly #inFlightGauge
  #ready: Lane[] = []
  #inFlight = 0
  #reserved = 0
  #failingInFlight = 0
  #working = new Set<Promise<void>>()
  #abort = new AbortController()
  #rescan: Timer | undefined

  constructor(options: DeliveryDispatcherOptions) {
    this.#options = options
    this.#inFlightGauge = options.metrics.gauge('alerts_webhook_requests_in_flight', 'Requests to endpoints under way')
  }

  async start(): Promise<void> {
    if (this.#rescan !== undefined) return
    const { clock, config, log } = this.#options
    this.#abort = new AbortController()
    setMaxListeners(2 * config.inFlightMax, this.#abort.signal)
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'rescan of webhook endpoints failed')
    this.#rescan = every(clock, config.rescanIntervalMs, () => this.#wakeAll(), onError)
    await this.#wakeAll()
  }

  /** Ends the tries under way without counting them, and waits until that is written. */
  async stop(): Promise<void> {
    this.#rescan?.cancel()
    this.#rescan = undefined
    this.#abort.abort()
    for (const lane of this.#lanes.values()) lane.timer?.cancel()
    while (this.#working.size > 0) await Promise.all(this.#working)
    this.#lanes.clear()
    this.#ready = []
    await this.#options.notifiers.close()
  }

  /** An endpoint has a delivery due at that time (epoch ms). Cheap, and may be called too often. */
  wake(endpointId: string, dueAtMs: number): void {
    if (this.#abort.signal.aborted || this.#rescan === undefined) return
    const lane = this.#laneOf(endpointId)
    const waitMs = dueAtMs - this.#options.clock.nowMs()
    if (waitMs <= 0) {
      this.#enqueue(lane)
      this.#pump()
    } else if (lane.timer === undefined || dueAtMs < lane.timerAtMs) {
      lane.timer?.cancel()
      lane.timerAtMs = dueAtMs
      lane.timer = this.#options.clock.after(Math.min(waitMs, TIMER_MAX_MS), () => {
        lane.timer = undefined
        this.wake(endpointId, Math.min(dueAtMs, this.#options.clock.nowMs()))
      })
    }
  }

  /** A slot for a delivery that is about to be written, so that it needs no claim; null when it has to wait its turn. */
  reserve(endpointId: string): DeliverySlot | null {
    if (this.#abort.signal.aborted || this.#rescan === undefined) return null
    const lane = this.#laneOf(endpointId)
    if (lane.queued || lane.failing || lane.restsUntil > 0 || this.#slotsFor(lane) === 0) return null
    const token = `${RESERVED}${this.#reserved++}`
    lane.inFlight.set(token, this.#options.clock.monotonicMs())
    this.#count(1, false)
    const release = (): void => {
      lane.inFlight.delete(token)
      this.#count(-1, false)
    }
    return {
      send: (delivery) => {
        release()
        if (!this.#abort.signal.aborted) this.#send(lane, delivery, true)
      },
      release: () => {
        release()
        this.#pump()
      },
    }
  }

  #laneOf(endpointId: string): Lane {
    const known = this.#lanes.get(endpointId)
    if (known !== undefined) return known
    const lane: Lane = {
      endpointId,
      inFlight: new Map(),
      window: 1,
      failing: false,
      failures: 0,
      restsUntil: 0,
      queued: false,
      timer: undefined,
      timerAtMs: Infinity,
    }
    this.#lanes.set(endpointId, lane)
    return lane
  }

  #enqueue(lane: Lane): void {
    if (lane.queued) return
    lane.queued = true
    this.#ready.push(lane)
  }

  /** Gives free slots to the lanes that wait, in turn. */
  #pump(): void {
    if (this.#abort.signal.aborted) return
    const waiting: Lane[] = []
    for (const lane of this.#ready) {
      if (lane.restsUntil > this.#options.clock.nowMs()) {
        lane.queued = false
        this.wake(lane.endpointId, lane.restsUntil)
        continue
      }
      const slots = this.#slotsFor(lane)
      if (slots === 0) {
        waiting.push(lane)
        continue
      }
      lane.queued = false
      this.#reserve(lane, slots)
    }
    this.#ready = waiting
  }

  #slotsFor(lane: Lane): number {
    const { inFlightMax, inFlightPerEndpointMax, failingInFlightMax } = this.#options.config
    if (lane.restsUntil > this.#options.clock.nowMs()) return 0
    const free = inFlightMax - this.#inFlight
    if (!lane.failing)
      return this.#isSlow(lane) ? 0 : Math.max(0, Math.min(free, Math.min(inFlightPerEndpointMax, lane.window) - lane.inFlight.size))
    return Math.max(0, Math.min(free, failingInFlightMax - this.#failingInFlight, 1 - lane.inFlight.size))
  }

  /** Something of it is unanswered for long: nothing is added until it is. */
  #isSlow({ inFlight }: Lane): boolean {
    const nowMs = this.#options.clock.monotonicMs()
    for (const sinceMs of inFlight.values()) if (nowMs - sinceMs > SLOW_MS) return true
    return false
  }

  /** Holds slots while the lane's due deliveries are read, and gives back those it does not need. */
  #reserve(lane: Lane, slots: number): void {
    const tokens = Array.from({ length: slots }, () => `${RESERVED}${this.#reserved++}`)
    const { failing } = lane
    for (const token of tokens) lane.inFlight.set(token, this.#options.clock.monotonicMs())
    this.#count(slots, failing)
    const release = (): void => {
      for (const token of tokens) lane.inFlight.delete(token)
      this.#count(-slots, failing)
    }
    this.#track(
      this.#fill(lane, slots, release).catch((error: unknown) => {
        this.#options.log.error({ endpoint: lane.endpointId, error: describeError(error) }, 'webhook deliveries cannot be read')
        this.wake(lane.endpointId, this.#options.clock.nowMs() + STORE_RETRY_MS)
      }),
    )
  }

  async #fill(lane: Lane, slots: number, release: () => void): Promise<void> {
    const { due, nextAtMs } = await this.#dueIn(lane, slots).finally(release)
    if (this.#abort.signal.aborted) return
    for (const delivery of due) this.#send(lane, delivery, false)
    if (due.length === slots) this.#enqueue(lane)
    else if (nextAtMs === null) this.#forget(lane)
    else this.wake(lane.endpointId, Math.max(nextAtMs, this.#options.clock.nowMs() + RECHECK_MS))
    this.#pump()
  }

  async #dueIn(lane: Lane, slots: number): Promise<{ due: StoredDelivery[]; nextAtMs: number | null }> {
    const { store, clock } = this.#options
    if ((await store.endpoints.get(lane.endpointId))?.ordered === true) return this.#nextInOrder(lane)
    // Those under way but not yet claimed are still due: ask for as many more.
    const found = await store.due(lane.endpointId, clock.nowMs(), slots + lane.inFlight.size)
    const due = found.filter((delivery) => !lane.inFlight.has(delivery.id)).slice(0, slots)
    return { due, nextAtMs: due.length < slots ? await store.nextDueAt(lane.endpointId) : null }
  }

  /** Of an endpoint that wants order: its oldest delivery, when it is due and nothing is under way. */
  async #nextInOrder(lane: Lane): Promise<{ due: StoredDelivery[]; nextAtMs: number | null }> {
    const { store, clock } = this.#options
    if ([...lane.inFlight.keys()].some((id) => !id.startsWith(RESERVED))) return { due: [], nextAtMs: clock.nowMs() + RECHECK_MS }
    const oldest = await store.oldestPending(lane.endpointId)
    const nextAtMs = oldest?.nextAttemptAt ?? null
    return oldest !== null && nextAtMs !== null && nextAtMs <= clock.nowMs() ? { due: [oldest], nextAtMs } : { due: [], nextAtMs }
  }

  #send(lane: Lane, delivery: StoredDelivery, claimed: boolean): void {
    const { failing } = lane
    lane.inFlight.set(delivery.id, this.#options.clock.monotonicMs())
    this.#count(1, failing)
    const done = this.#options.attempts
      .run(delivery, { claimed, signal: this.#abort.signal })
      .then(
        (verdict) => {
          return this.#judge(lane, verdict)
        },
        (error: unknown) => {
          this.#options.log.error({ delivery: delivery.id, error: describeError(error) }, 'webhook delivery failed on our side')
          return STORE_RETRY_MS
        },
      )
      .then((waitMs) => {
        lane.inFlight.delete(delivery.id)
        this.#count(-1, failing)
        this.wake(lane.endpointId, this.#options.clock.nowMs() + waitMs)
        this.#pump()
      })
    this.#track(done)
  }

  /** What a try says of its endpoint: too many failures in a row and it is left alone. */
  async #judge(lane: Lane, verdict: AttemptVerdict): Promise<number> {
    const { attempts, clock, config } = this.#options
    if (verdict.says === 'skipped') return 0
    if (verdict.says === 'rests') {
      lane.restsUntil = Math.max(lane.restsUntil, verdict.until)
      lane.failing = true
      return 0
    }
    const { says, onTrial } = verdict
    lane.failing = says === 'fails'
    lane.failures = says === 'fails' ? lane.failures + 1 : 0
    lane.window = says === 'fails' ? 1 : lane.window + 1
    if (says === 'works' && (onTrial || lane.restsUntil > 0)) {
      lane.restsUntil = 0
      await attempts.rest(lane.endpointId, null)
    } else if (says === 'fails' && config.breakerFailures > 0 && (onTrial || lane.failures >= config.breakerFailures)) {
      lane.restsUntil = clock.nowMs() + config.breakerOpenMs
      await attempts.rest(lane.endpointId, lane.restsUntil)
    }
    return 0
  }

  #forget(lane: Lane): void {
    if (lane.inFlight.size === 0 && !lane.queued && lane.timer === undefined && lane.failures === 0) this.#lanes.delete(lane.endpointId)
  }

  #count(change: number, failing: boolean): void {
    this.#inFlight += change
    if (failing) this.#failingInFlight += change
    this.#inFlightGauge.set(this.#inFlight)
  }

  #track(work: Promise<void>): void {
    this.#working.add(work)
    void work.finally(() => this.#working.delete(work))
  }

  async #wakeAll(): Promise<void> {
    const nowMs = this.#options.clock.nowMs()
    for await (const endpoint of this.#options.store.allEndpoints(PAGE_ITEMS)) this.wake(endpoint.id, nowMs)
  }
}
