import { setMaxListeners } from 'node:events'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { WebhooksConfig } from './config.ts'
import type { DeliveryAttempts } from './delivery-attempt.ts'
import type { StoredDelivery } from './webhook-documents.ts'
import type { WebhookSender } from './webhook-sender.ts'
import type { WebhookStore } from './webhook-store.ts'

/** Longest timer set; a later date is looked at again then (timers overflow after 24 days). */
const TIMER_MAX_MS = 3_600_000
/** Wait before an endpoint is looked at again after the store failed. */
const STORE_RETRY_MS = 1_000
/** Wait before looking again where something is due already: most often a try that is about to be claimed. */
const RECHECK_MS = 50
const PAGE_ITEMS = 200

export interface DeliveryDispatcherOptions {
  store: WebhookStore
  attempts: DeliveryAttempts
  sender: WebhookSender
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
  inFlight: Set<string>
  /** Its last try failed. */
  failing: boolean
  /** Waits in the queue for a slot. */
  queued: boolean
  timer: Timer | undefined
  timerAtMs: number
}

/**
 * Decides who sends when. Each endpoint is a lane with its own bound; lanes that are due take turns. Endpoints whose last try failed send
 * one at a time and share a part of the slots, so that hanging ones cannot hold what the others need. Due dates live in the documents; the
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
    setMaxListeners(config.inFlightMax + 1, this.#abort.signal)
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
    await this.#options.sender.close()
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
    if (lane.queued || lane.failing || this.#slotsFor(lane) === 0) return null
    const token = `reserved-${this.#reserved++}`
    lane.inFlight.add(token)
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
    const lane: Lane = { endpointId, inFlight: new Set(), failing: false, queued: false, timer: undefined, timerAtMs: Infinity }
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
    const free = inFlightMax - this.#inFlight
    if (!lane.failing) return Math.max(0, Math.min(free, inFlightPerEndpointMax - lane.inFlight.size))
    return Math.max(0, Math.min(free, failingInFlightMax - this.#failingInFlight, 1 - lane.inFlight.size))
  }

  /** Holds slots while the lane's due deliveries are read, and gives back those it does not need. */
  #reserve(lane: Lane, slots: number): void {
    const tokens = Array.from({ length: slots }, () => `reserved-${this.#reserved++}`)
    const { failing } = lane
    for (const token of tokens) lane.inFlight.add(token)
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
    // Those under way but not yet claimed are still due: ask for as many more.
    const found = await store.due(lane.endpointId, clock.nowMs(), slots + lane.inFlight.size)
    const due = found.filter((delivery) => !lane.inFlight.has(delivery.id)).slice(0, slots)
    return { due, nextAtMs: due.length < slots ? await store.nextDueAt(lane.endpointId) : null }
  }

  #send(lane: Lane, delivery: StoredDelivery, claimed: boolean): void {
    const { failing } = lane
    lane.inFlight.add(delivery.id)
    this.#count(1, failing)
    const done = this.#options.attempts
      .run(delivery, { claimed, signal: this.#abort.signal })
      .then(
        (verdict) => {
          if (verdict !== 'skipped') lane.failing = verdict === 'fails'
          return 0
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

  #forget(lane: Lane): void {
    if (lane.inFlight.size === 0 && !lane.queued && lane.timer === undefined) this.#lanes.delete(lane.endpointId)
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
