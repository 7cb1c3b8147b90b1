import type { Counter, Histogram } from 'prom-client'
import { DOWNLINK, DOWNLINKS_CANCELLED, type Downlink, type DownlinksCancelled } from '../../contracts/downlink.ts'
import { FORGET_DEVICE, type ForgetDevice } from '../../contracts/forget-device.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import { describeError, EnvironmentError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import { withTimeout } from '../../kernel/retry.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import type { Ownership } from '../persistence/documents-persistence.ts'
import { cancellationOf, downlinkOf, forgettingOf, readJson } from '../downlink-record.ts'
import type { LogPlace } from '../persistence/log-place.ts'
import { CommandFeed } from './command-feed.ts'
import type { EdgesConfig } from './config.ts'
import { openEdgeCollections, SEAT_WANTED, type EdgeCollections } from './edge-documents.ts'
import { EdgeLease } from './edge-lease.ts'
import { EdgePeers } from './edge-peers.ts'
import type { SeatMirror } from './held-seats.ts'
import { Seats, type TakeResult } from './seats.ts'

/** What an edge asks of the broker that it is part of. */
export interface EdgeHost {
  /** Resolves when the message is durable where it must be; delivery goes on by itself. */
  deliver(clientId: string, downlink: Downlink, place: LogPlace): Promise<void>
  /** Takes back what waits for the device; resolves when that is durable. */
  cancel(cancelled: DownlinksCancelled): Promise<void>
  /** Forgets a device that leaves; resolves when that is durable. */
  forget(forgetting: ForgetDevice): Promise<void>
  /** Ends a device's connections and waits, within a bound, for what they have under way. */
  vacate(clientId: string): Promise<void>
  /** What the last connections of these devices left behind is to be said. */
  onOrphans(clientIds: readonly string[]): void
  /** Everything held belongs to other edges by now: every connection is to end. */
  onLost(): Promise<void>
  /** Does nothing depend on this device's being held here? */
  isIdle(clientId: string): boolean
  /** Positions on record have moved. */
  onRecorded(): Promise<void>
}

export interface EdgeOptions {
  /** Of the data folder, the same after every start. */
  edgeId: string
  documents: Documents
  eventLog: EventLog
  clock: Clock
  log: Logger
  metrics: Metrics
  config: EdgesConfig
  namespace: string
  mirror: SeatMirror
  host: EdgeHost
}

/** Renewals, and looks at the others, within the time of one lease. */
const TURNS_PER_LEASE = 3

/** One of several edges over the same documents and event log: which devices it holds, and how they come and go. */
export class Edge implements Ownership {
  readonly #options: EdgeOptions
  readonly #lease: EdgeLease
  readonly #peers: EdgePeers
  readonly #feed: CommandFeed
  readonly #seats: Seats
  readonly #takeovers: Counter<'result'>
  readonly #adopted: Counter
  readonly #takeoverSeconds: Histogram
  #collections: EdgeCollections | undefined
  #timers: Timer[] = []
  #working: Promise<unknown> = Promise.resolve()
  #isRunning = false

  constructor(options: EdgeOptions) {
    const { clock, log, config, metrics, edgeId, eventLog, host, mirror } = options
    this.#options = options
    const edges = (): EdgeCollections['edges'] => this.#open().edges
    this.#lease = new EdgeLease({
      edges,
      clock,
      log,
      edgeId,
      leaseMs: config.leaseMs,
      positions: () => this.#feed.positions,
      onRenewed: () => this.#background('positions on record', host.onRecorded()),
      onLost: () => this.#background('a lost lease', this.#beginAgain()),
    })
    this.#peers = new EdgePeers(edges, clock)
    this.#feed = new CommandFeed({ eventLog, clock, log, config, onRecord: (record, isLate) => this.#onRecord(record, isLate) })
    this.#seats = new Seats({
      seats: () => this.#open().seats,
      lease: this.#lease,
      peers: this.#peers,
      feed: this.#feed,
      mirror,
      clock,
      log,
      config,
      ask: (clientId, lease) => this.#ask(clientId, lease),
      vacate: (clientId) => host.vacate(clientId),
      onOrphans: (clientIds) => host.onOrphans(clientIds),
    })
    this.#takeovers = metrics.counter('broker_takeovers_total', 'Devices that connected and were not held here at once, by result', [
      'result',
    ])
    this.#adopted = metrics.counter('broker_adopted_seats_total', 'Devices taken over from edges that died or left')
    this.#takeoverSeconds = metrics.histogram(
      'broker_take_seconds',
      'From a CONNECT to holding a device that was not held here',
      LATENCY_BUCKETS_S,
    )
    metrics.gaugeOf('broker_seats', 'Devices held by this edge', () => this.#seats.held.size)
  }

  get isValid(): boolean {
    return this.#lease.isValid
  }
  confirm(): Promise<boolean> {
    return this.#lease.confirm()
  }
  recheck(): Promise<boolean> {
    return this.#lease.recheck()
  }
  owns(clientId: string): boolean {
    return this.#seats.held.has(clientId)
  }
  isRecorded(clientId: string, { partition, offset }: LogPlace): boolean {
    return offset < (this.#lease.recorded[partition] ?? 0) && this.#seats.held.isSettled(clientId)
  }
  /** May this edge deliver to the device now, without asking anyone? */
  isReady(clientId: string): boolean {
    return this.#seats.isReady(clientId)
  }
  /** Why it is not certain of what it holds; null when it is. */
  get failing(): string | null {
    return this.#isRunning ? (this.#lease.trouble ?? null) : null
  }

  /** Finds out what it holds. To be called before that is loaded. */
  async open(): Promise<void> {
    const { documents, namespace } = this.#options
    this.#collections = await openEdgeCollections(documents, namespace)
    const positions = await this.#lease.resume()
    await this.#feed.start(positions)
    if (positions === undefined) await this.#lease.begin()
    await this.#seats.resume()
  }

  /** Begins to handle commands, renew the lease and look after the others. */
  run(): void {
    const { clock, config, log } = this.#options
    this.#isRunning = true
    this.#feed.run()
    const turnMs = Math.max(1, Math.floor(config.leaseMs / TURNS_PER_LEASE))
    const failed = (error: unknown): void =>
      log.warn({ error: describeError(error) }, 'edge could not look after its sessions, trying again')
    this.#timers = [every(clock, turnMs, () => this.#renew(), failed), every(clock, turnMs, () => this.#look(), failed)]
    this.#background('a first look at other edges', this.#look())
  }

  async stop(): Promise<void> {
    if (this.#collections === undefined) return
    this.#isRunning = false
    for (const timer of this.#timers) timer.cancel()
    this.#timers = []
    const { clock, config, log } = this.#options
    try {
      await withTimeout(clock, config.takeoverTimeoutMs, 'ending what the edge has under way', this.#end())
    } catch (error) {
      log.warn({ error: describeError(error) }, 'other edges wait for the end of this one’s lease: it could not say that it stops')
    }
  }

  /** Holds a device that connects here. */
  async take(clientId: string): Promise<TakeResult> {
    const { clock } = this.#options
    const startedMs = clock.monotonicMs()
    const result = await this.#seats.take(clientId)
    this.#takeovers.inc({ result })
    this.#takeoverSeconds.observe((clock.monotonicMs() - startedMs) / 1_000)
    return result
  }

  /** Hands a message to whichever edge holds the device, through the log; resolves when it is durable there. */
  async forward(downlink: Downlink): Promise<void> {
    const key = `${downlink.tenant}/${downlink.device}`
    await this.#options.eventLog.append(TOPICS.commands, [{ key, schema: DOWNLINK, value: jsonBytes(downlink) }])
  }

  /** Gives up devices that need not be held; resolves to how many. */
  giveUpIdle(): Promise<number> {
    return this.#seats.giveUp((clientId) => this.#options.host.isIdle(clientId))
  }

  async #end(): Promise<void> {
    await this.#seats.stop()
    await this.#feed.stop()
    await this.#working
    await this.#lease.leave()
  }

  #open(): EdgeCollections {
    if (this.#collections === undefined) throw new TypeError('the edge is used before it was opened')
    return this.#collections
  }

  async #renew(): Promise<void> {
    if (this.#lease.id === '') await this.#lease.begin()
    else await this.#lease.renew()
  }

  async #look(): Promise<void> {
    await this.#peers.look()
    await this.#seats.recover()
    for (const clientId of await this.#seats.wanted()) this.#handOver(clientId)
    for (const lease of this.#peers.overdue(this.#lease.id)) {
      if (!this.#isRunning || !(await this.#lease.confirm())) return
      const adopted = await this.#seats.adopt(lease)
      this.#adopted.inc(adopted)
      if (adopted > 0) this.#options.log.warn({ lease, devices: adopted }, 'took over the devices of an edge that is gone')
    }
  }

  async #onRecord(record: LogRecord, isLate: boolean): Promise<void> {
    if (record.schema === DOWNLINK) await this.#onDownlink(record, isLate)
    else if (record.schema === DOWNLINKS_CANCELLED) await this.#onCancelled(record, isLate)
    else if (record.schema === FORGET_DEVICE) await this.#onForget(record, isLate)
    else if (record.schema === SEAT_WANTED) this.#onWanted(record)
  }

  async #onDownlink(record: LogRecord, isLate: boolean): Promise<void> {
    const { key, partition, offset } = record
    const downlink = downlinkOf(record)
    if (downlink === undefined) {
      this.#options.log.error({ partition, offset }, 'unreadable command passed over')
      return
    }
    // A retained message is kept for a device that nobody holds yet, too.
    if (await this.#isMine(record, isLate, downlink.retain)) await this.#options.host.deliver(key, downlink, { partition, offset })
  }

  async #onCancelled(record: LogRecord, isLate: boolean): Promise<void> {
    const { partition, offset } = record
    const cancelled = cancellationOf(record)
    if (cancelled === undefined) {
      this.#options.log.error({ partition, offset }, 'unreadable cancellation passed over')
      return
    }
    // A device that nobody holds may have retained commands.
    if (await this.#isMine(record, isLate, true)) await this.#options.host.cancel(cancelled)
  }

  async #onForget(record: LogRecord, isLate: boolean): Promise<void> {
    const { partition, offset } = record
    const forgetting = forgettingOf(record)
    if (forgetting === undefined) {
      this.#options.log.error({ partition, offset }, 'unreadable request to forget a device passed over')
      return
    }
    // What is kept for a device that nobody holds goes, too.
    if (await this.#isMine(record, isLate, true)) await this.#options.host.forget(forgetting)
  }

  /** Is the record for this edge to handle now? Then all of the device's state is in memory. `claims`: a device that nobody holds is held from now on. */
  async #isMine({ key, partition, offset }: LogRecord, isLate: boolean, claims: boolean): Promise<boolean> {
    if (!this.#seats.held.has(key)) {
      if (!claims || !(await this.#seats.claim(key))) return false
    } else if (this.#feed.isAhead(key, { partition, offset }) || (!isLate && this.#seats.held.isLate(key))) return false
    if (!(await this.#lease.confirm()))
      throw new EnvironmentError('SESSION_TAKEN', 'this edge may have lost its sessions', { retryable: true })
    await this.#options.mirror.warm(key)
    return true
  }

  #onWanted(record: LogRecord): void {
    const wish = readJson(record) as { lease?: unknown } | undefined
    if (wish?.lease === this.#lease.id) this.#handOver(record.key)
  }

  #handOver(clientId: string): void {
    this.#background(`giving up ${clientId}`, this.#seats.handOver(clientId))
  }

  #ask(clientId: string, lease: string): void {
    const message = { key: clientId, schema: SEAT_WANTED, value: jsonBytes({ lease }) }
    // Without it the other edge finds the wish at its next look.
    this.#background('asking for a session', this.#options.eventLog.append(TOPICS.commands, [message]))
  }

  /** Another edge declared this one dead: it drops everything and begins anew. */
  async #beginAgain(): Promise<void> {
    const { log, host } = this.#options
    log.error('this edge was silent for longer than its lease and lost its sessions to others; its connections end')
    const dropped = this.#seats.held.dropAll()
    await host.onLost()
    for (const clientId of dropped) await this.#options.mirror.release(clientId)
    // The next turn begins a new one.
    this.#lease.reset()
  }

  #background(what: string, work: Promise<unknown>): void {
    const done = work.catch((error: unknown) => this.#options.log.warn({ what, error: describeError(error) }, 'failed, trying again'))
    this.#working = Promise.all([this.#working, done])
  }
}
