import type { Uplink, UplinkSink } from '../contracts/uplink.ts'
import { describeError, EnvironmentError, FleetpulseError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Random } from '../kernel/random.ts'
import { backoffDelayMs } from '../kernel/retry.ts'
import type { Clock, Timer } from '../kernel/time.ts'
import { PUBLISH_OVERHEAD_BYTES, type IntakeBudget } from './intake-budget.ts'

type Done = (error?: Error) => void

interface WaitingUplink {
  /** Order within its lane. */
  sequence: number
  uplink: Uplink
  done: Done
  sizeBytes: number
  state: 'waiting' | 'underway' | 'durable'
}

/** One device's connection as the road knows it: what it sends becomes durable, and is answered, in the order in which it was sent. */
export interface UplinkLane {
  /** Given to ingest and not answered yet. */
  underway: number
  nextSequence: number
  /** Undefined while nothing waits: the usual case, which costs nothing. */
  stalled: WaitingUplink[] | undefined
  /** Nobody is there any more to be answered. */
  readonly isClosed: boolean
}

export function lane(): UplinkLane {
  return { underway: 0, nextSequence: 0, stalled: undefined, isClosed: false }
}

export interface UplinkRoadOptions {
  uplinks: UplinkSink
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  budget: IntakeBudget
  /** First and longest pause between tries while the log is away, in ms. */
  retryInitialMs: number
  retryMaxMs: number
  /** The log counts as away when it has not answered one publish for so long, in ms. */
  slowMs: number
}

/** Lanes let go in one turn of the event loop when the log is back: their publishes share appends, and others get their turns too. */
const LANES_PER_TURN = 64

/** Whose trouble a failed publish is: not the log's when the device is not known here. */
const NOT_THE_LOGS: ReadonlySet<string> = new Set(['DEVICE_UNKNOWN'])

/**
 * From the gate to ingest. A publish that the log does not take now waits, unacknowledged and with all that follows it on its connection;
 * one of them is tried again, with growing pauses, and when it is taken the others follow. What cannot be made durable for another
 * reason fails, and its connection ends.
 */
export class UplinkRoad {
  readonly #options: UplinkRoadOptions
  readonly #lanes = new Set<UplinkLane>()
  #trouble: string | undefined
  #attempt = 0
  #timer: Timer | undefined
  #isProbing = false
  #inFlight = 0
  #waiting = 0
  /** When the publish was given to ingest by which its pace is watched; none is while negative. */
  #watchedSinceMs = -1
  #drained: (() => void) | undefined
  #isStopped = false

  constructor(options: UplinkRoadOptions) {
    this.#options = options
    const { metrics } = options
    metrics.gaugeOf(
      'broker_uplinks_waiting',
      'Publishes of devices that wait unacknowledged because the event log takes nothing',
      () => this.#waiting,
    )
    metrics.gaugeOf('broker_log_available', 'Does the event log take publishes? 1 yes, 0 no', () => (this.failing === null ? 1 : 0))
    metrics.gaugeOf('broker_uplink_bytes', 'Bytes read from devices and not durable yet', () => options.budget.bytes)
    metrics.gaugeOf('broker_unread_connections', 'Connections not read because of broker.uplinkBytesMax', () => options.budget.waiting)
  }

  /** Publishes that wait for the log. */
  get waiting(): number {
    return this.#waiting
  }

  /** Why nothing is acknowledged, in one sentence; null while the log takes what comes. */
  get failing(): string | null {
    if (this.#trouble !== undefined) return `the event log takes nothing, ${this.#waiting} publishes wait unacknowledged: ${this.#trouble}`
    const sinceMs = this.#watchedSinceMs < 0 ? 0 : this.#options.clock.monotonicMs() - this.#watchedSinceMs
    if (sinceMs < this.#options.slowMs) return null
    return `the event log has not answered for ${Math.round(sinceMs / 1_000)} s, ${this.#inFlight} publishes are not acknowledged`
  }

  /** `done` is called once: without an error when the publish is durable and everything before it on its lane was answered. */
  send(of: UplinkLane, uplink: Uplink, done: Done): void {
    const sizeBytes = uplink.payload.byteLength + PUBLISH_OVERHEAD_BYTES
    this.#options.budget.change(sizeBytes)
    this.#inFlight++
    const sequence = of.nextSequence++
    if (of.stalled !== undefined || this.#trouble !== undefined) {
      this.#insert(of, { sequence, uplink, done, sizeBytes, state: 'waiting' })
      if (this.#trouble === undefined) this.#flush(of)
      else if (this.#timer === undefined && !this.#isProbing) this.#probe()
      return
    }
    of.underway++
    const isWatched = this.#watch()
    this.#options.uplinks.accept(uplink, (error) => {
      of.underway--
      if (isWatched) this.#watchedSinceMs = -1
      if (error === undefined && of.stalled === undefined) {
        this.#finish(sizeBytes)
        done()
      } else this.#answered(of, { sequence, uplink, done, sizeBytes, state: 'underway' }, error)
    })
  }

  /** The lane's device has left: what waits on it is not durable, was not acknowledged, and comes again. */
  leave(of: UplinkLane): void {
    const left = of.stalled
    if (left === undefined) return
    of.stalled = left.filter(({ state }) => state === 'underway')
    if (of.stalled.length === 0) this.#unstall(of)
    for (const item of left) {
      if (item.state === 'underway') continue
      this.#finish(item.sizeBytes)
      if (item.state === 'durable') {
        item.done()
        continue
      }
      this.#waiting--
      item.done(new EnvironmentError('UPLINK_FAILED', 'the device left before its publish was durable', { retryable: true }))
    }
  }

  /** Resolves when nothing is under way or waiting. */
  drained(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#drained = resolve
    })
  }

  /** Tries nothing again; what waits is never acknowledged. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #watch(): boolean {
    if (this.#watchedSinceMs >= 0) return false
    this.#watchedSinceMs = this.#options.clock.monotonicMs()
    return true
  }

  #finish(sizeBytes: number): void {
    this.#inFlight--
    this.#options.budget.change(-sizeBytes)
    if (this.#inFlight > 0 || this.#drained === undefined) return
    this.#drained()
    this.#drained = undefined
  }

  /** The answer to a publish whose lane is stalled, or that could not be made durable. */
  #answered(of: UplinkLane, item: WaitingUplink, error: Error | undefined): void {
    if (error !== undefined && !mayPass(error)) {
      this.#finish(item.sizeBytes)
      item.done(error)
    } else {
      item.state = error === undefined ? 'durable' : 'waiting'
      this.#insert(of, item)
      if (error !== undefined) this.#shut(error)
      if (of.isClosed) return this.leave(of)
    }
    this.#advance(of)
    if (this.#trouble === undefined) this.#flush(of)
  }

  #insert(of: UplinkLane, item: WaitingUplink): void {
    if (item.state === 'waiting') this.#waiting++
    const items = (of.stalled ??= [])
    this.#lanes.add(of)
    let at = items.length
    while (at > 0 && items[at - 1]!.sequence > item.sequence) at--
    items.splice(at, 0, item)
  }

  /** Answers what is durable, from the front. */
  #advance(of: UplinkLane): void {
    const items = of.stalled
    if (items === undefined) return
    let answered = 0
    while (items[answered]?.state === 'durable') answered++
    const ready = items.splice(0, answered)
    if (items.length === 0) this.#unstall(of)
    for (const item of ready) {
      this.#finish(item.sizeBytes)
      item.done()
    }
  }

  #unstall(of: UplinkLane): void {
    of.stalled = undefined
    this.#lanes.delete(of)
  }

  /** Gives everything that waits on a lane to ingest, in order; not before the answers to what went before are there. */
  #flush(of: UplinkLane): void {
    const items = of.stalled
    if (this.#waiting === 0 || items === undefined || this.#hasOlderUnderway(of, items)) return
    for (const item of [...items]) {
      if (this.#trouble !== undefined) return
      if (item.state === 'waiting') this.#give(of, item)
    }
  }

  /** Publishes given before the lane stalled are not in its list; whether they failed too is not known yet. */
  #hasOlderUnderway(of: UplinkLane, items: readonly WaitingUplink[]): boolean {
    return of.underway > items.filter(({ state }) => state === 'underway').length
  }

  #give(of: UplinkLane, item: WaitingUplink): void {
    item.state = 'underway'
    this.#waiting--
    of.underway++
    const isWatched = this.#watch()
    this.#options.uplinks.accept(item.uplink, (error) => {
      of.underway--
      if (isWatched) this.#watchedSinceMs = -1
      const at = of.stalled?.indexOf(item) ?? -1
      if (error !== undefined && mayPass(error)) {
        item.state = 'waiting'
        this.#waiting++
        this.#shut(error)
        if (of.isClosed) this.leave(of)
        return
      }
      if (this.#isProbing) this.#open()
      if (error === undefined) {
        item.state = 'durable'
        this.#advance(of)
      } else {
        of.stalled?.splice(at, 1)
        if (of.stalled?.length === 0) this.#unstall(of)
        this.#finish(item.sizeBytes)
        item.done(error)
      }
      if (this.#trouble === undefined) this.#flush(of)
    })
  }

  #shut(error: Error): void {
    const { log } = this.#options
    const wasProbing = this.#isProbing
    this.#isProbing = false
    if (this.#trouble === undefined) {
      this.#attempt = 0
      log.warn({ error: describeError(error) }, 'the event log takes nothing; publishes wait and are not acknowledged')
    } else if (!wasProbing) return
    this.#trouble = describeError(error)
    this.#probeLater()
  }

  #open(): void {
    this.#isProbing = false
    if (this.#trouble === undefined) return
    this.#trouble = undefined
    this.#options.log.info({ waiting: this.#waiting }, 'the event log takes publishes again')
    this.#letGo([...this.#lanes])
  }

  #letGo(lanes: readonly UplinkLane[]): void {
    for (const of of lanes.slice(0, LANES_PER_TURN)) if (this.#trouble === undefined) this.#flush(of)
    const rest = lanes.slice(LANES_PER_TURN)
    if (rest.length > 0 && this.#trouble === undefined) setImmediate(() => this.#letGo(rest))
  }

  #probeLater(): void {
    if (this.#isStopped) return
    const { clock, random, retryInitialMs, retryMaxMs } = this.#options
    const delayMs = backoffDelayMs({ initialMs: retryInitialMs, maxMs: retryMaxMs, factor: 2, jitter: 0.5 }, ++this.#attempt, random)
    this.#timer?.cancel()
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined
      this.#probe()
    })
  }

  /** Tries the first publish of the lane that has waited longest. With nobody waiting, the next publish is the one that is tried. */
  #probe(): void {
    if (this.#isStopped) return
    for (const of of this.#lanes) {
      const first = of.stalled?.find(({ state }) => state !== 'durable')
      if (first?.state !== 'waiting' || this.#hasOlderUnderway(of, of.stalled ?? [])) continue
      this.#isProbing = true
      this.#give(of, first)
      return
    }
    // Older ones are under way still: their answers decide.
    if (this.#waiting > 0) this.#probeLater()
  }
}

/** May the same publish be taken later, without anyone's changing anything? */
function mayPass(error: Error): boolean {
  return error instanceof FleetpulseError && error.retryable && !NOT_THE_LOGS.has(error.code)
}
