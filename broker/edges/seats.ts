import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import { documentKey } from '../persistence/document-key.ts'
import { furthest, type CommandFeed } from './command-feed.ts'
import type { EdgesConfig } from './config.ts'
import type { Positions, SeatDocument } from './edge-documents.ts'
import type { EdgeLease } from './edge-lease.ts'
import type { EdgePeers } from './edge-peers.ts'
import { HeldSeats, type SeatChange, type SeatMirror, type StoredSeat } from './held-seats.ts'

export interface SeatsOptions {
  seats: () => Collection<SeatDocument>
  lease: EdgeLease
  peers: EdgePeers
  feed: CommandFeed
  mirror: SeatMirror
  clock: Clock
  log: Logger
  config: EdgesConfig
  /** Asks the edge that has this lease for the seat, faster than its next look. */
  ask(clientId: string, lease: string): void
  /** Ends the device's connections here and waits, within a bound, for what they have under way. */
  vacate(clientId: string): Promise<void>
  /** Devices taken over from an edge that died; what their last connections left behind is to be said. */
  onOrphans(clientIds: readonly string[]): void
}

/**
 * What became of the wish to hold a device. `taken`: by a later connection on another edge. `timeout`: its holder did not give it up.
 * `uncertain`: this edge does not know whether its own lease still holds, or is stopping.
 */
export type TakeResult = 'held' | 'taken' | 'timeout' | 'uncertain'

/** How often a seat that is waited for is looked at, in ms: soon first, then less often. */
const LOOK_MS = [2, 5, 10, 20, 40] as const

/** How seats change hands: from nobody, from an edge that gives them up, from one that is dead, and to one that asks. */
export class Seats {
  readonly #options: SeatsOptions
  readonly #held: HeldSeats
  /** Seats that are being taken, adopted or given up: one thing at a time for each. */
  readonly #busy = new Map<string, Promise<unknown>>()
  readonly #stopping = new AbortController()
  /** Something failed half-way: the store may name this edge for seats that it does not hold. */
  #isUnsure = false

  constructor(options: SeatsOptions) {
    this.#options = options
    this.#held = new HeldSeats(options)
  }

  get held(): HeldSeats {
    return this.#held
  }

  /** Held, not being given up, all of its state in memory, and certain: nothing needs to be waited for. */
  isReady(clientId: string): boolean {
    const { lease, mirror } = this.#options
    return this.#held.has(clientId) && !this.#busy.has(clientId) && mirror.isWarm(clientId) && lease.isValid
  }

  /** Seats that the last run with this lease held. */
  async resume(): Promise<void> {
    for await (const seat of this.#ofLease(this.#options.lease.id)) this.#held.resume(seat)
  }

  /** Tries again what failed half-way, and catches up with what the last run had not when it died. */
  async recover(): Promise<void> {
    if (this.#isUnsure) {
      this.#isUnsure = false
      for await (const { clientId } of this.#ofLease(this.#options.lease.id)) {
        if (!this.#held.has(clientId) && !this.#busy.has(clientId)) this.#held.addStray(clientId)
      }
    }
    for (const clientId of this.#held.strays) {
      if (!this.#busy.has(clientId)) await this.#occupy(clientId, () => this.#recover(clientId))
    }
  }

  /** Holds a device whose connection is here, wherever it was held before. */
  async take(clientId: string): Promise<TakeResult> {
    const deadlineMs = this.#options.clock.monotonicMs() + this.#options.config.takeoverTimeoutMs
    for (;;) {
      if (!(await this.#options.lease.confirm())) return 'uncertain'
      if (this.isReady(clientId)) return 'held'
      const busy = this.#busy.get(clientId)
      if (busy !== undefined) await busy.catch(() => undefined)
      else if (this.#held.has(clientId)) await this.#options.mirror.warm(clientId)
      else return this.#occupy(clientId, () => this.#take(clientId, deadlineMs))
    }
  }

  /** Holds a device nobody holds; false when somebody does, or is about to. Only while records stand still. */
  async claim(clientId: string): Promise<boolean> {
    if (this.#busy.has(clientId)) return false
    return this.#occupy(clientId, async () => {
      const { seats, lease, clock } = this.#options
      const result = await seats().insert(documentKey(clientId), { clientId, lease: lease.id, at: clock.nowMs() })
      if (result.status === 'conflict') return false
      await this.#held.begin(result.document)
      return true
    })
  }

  /** Gives a device to the edge that asks for it, if one does. */
  async handOver(clientId: string): Promise<void> {
    if (!this.#held.has(clientId) || this.#busy.has(clientId)) return
    await this.#occupy(clientId, () => this.#handOver(clientId))
  }

  /** Seats that other edges ask for. */
  async wanted(): Promise<string[]> {
    const { seats, lease } = this.#options
    const found = await seats().find({ wanted: { $gt: '' } })
    return found.filter((seat) => seat.lease === lease.id).map(({ clientId }) => clientId)
  }

  /** Takes over every device of an edge whose lease is over; resolves to how many. */
  async adopt(lease: string): Promise<number> {
    const ended = await this.#options.peers.end(lease, this.#options.lease.id)
    if (ended.status === 'live') return 0
    const positions = ended.status === 'over' ? ended.positions : {}
    const { seats, config } = this.#options
    let adopted = 0
    let page: StoredSeat[] = []
    for await (const seat of this.#ofLease(lease)) {
      if (page.push(seat) < config.adoptSeatsMax) continue
      adopted += await this.#adoptPage(page, positions)
      page = []
    }
    adopted += await this.#adoptPage(page, positions)
    if (this.#stopping.signal.aborted) return adopted
    if ((await seats().count({ lease })) === 0) await this.#options.peers.remove(lease)
    return adopted
  }

  /** Gives up seats that hold nothing: no connection, no session. Whoever connects next takes them from nobody. */
  async giveUp(isIdle: (clientId: string) => boolean): Promise<number> {
    let given = 0
    for (const clientId of this.#held.clientIds) {
      if (this.#stopping.signal.aborted || this.#busy.has(clientId) || !isIdle(clientId)) continue
      await this.#occupy(clientId, () => this.#giveUp(clientId, isIdle))
      given++
    }
    return given
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.allSettled([...this.#busy.values()])
  }

  async #occupy<T>(clientId: string, run: () => Promise<T>): Promise<T> {
    const work = run()
    this.#busy.set(clientId, work)
    try {
      return await work
    } catch (error) {
      this.#isUnsure = true
      throw error
    } finally {
      if (this.#busy.get(clientId) === work) this.#busy.delete(clientId)
    }
  }

  async #take(clientId: string, deadlineMs: number): Promise<TakeResult> {
    const { seats, lease, clock, ask, mirror } = this.#options
    let asked = false
    for (let look = 0; ; look++) {
      if (this.#stopping.signal.aborted || !(await lease.confirm())) return 'uncertain'
      if (this.#held.has(clientId)) {
        await mirror.warm(clientId)
        return 'held'
      }
      const seat = await seats().get(documentKey(clientId))
      if (seat === null || seat.lease === lease.id) {
        await (seat === null ? this.#takeFree(clientId) : this.#held.settle([seat]))
        continue
      }
      if (await this.#takeOrphan(seat)) continue
      if (seat.wanted !== lease.id) {
        if (asked) return 'taken'
        if ((await this.#held.change(seat, { $set: { wanted: lease.id } })) === undefined) continue
        asked = true
        ask(clientId, seat.lease)
      }
      if (clock.monotonicMs() >= deadlineMs) {
        if (await this.#withdraw(clientId)) return 'timeout'
        continue
      }
      await sleep(clock, LOOK_MS[Math.min(look, LOOK_MS.length - 1)]!, this.#stopping.signal)
    }
  }

  async #takeFree(clientId: string): Promise<void> {
    const { seats, lease, clock, feed } = this.#options
    const seat: SeatDocument = { clientId, lease: lease.id, at: clock.nowMs(), handled: feed.positions, caughtUp: true }
    const result = await seats().insert(documentKey(clientId), seat)
    if (result.status === 'written') await this.#held.settle([result.document])
  }

  async #withdraw(clientId: string): Promise<boolean> {
    const seat = await this.#options.seats().get(documentKey(clientId))
    if (seat?.wanted !== this.#options.lease.id) return seat?.lease !== this.#options.lease.id
    return (await this.#held.change(seat, { $unset: { wanted: '' } })) !== undefined
  }

  /** Takes one device from an edge that is dead; false while that is not certain. */
  async #takeOrphan(seat: StoredSeat): Promise<boolean> {
    const { peers, lease } = this.#options
    const ended = await peers.end(seat.lease, lease.id)
    if (ended.status === 'live') return false
    const taken = await this.#held.change(seat, this.#succession(seat, ended.status === 'over' ? ended.positions : {}))
    if (taken === undefined) return true
    await this.#held.settle([taken])
    this.#options.onOrphans([seat.clientId])
    return true
  }

  #succession(seat: SeatDocument, positions: Positions): SeatChange {
    const { lease, clock } = this.#options
    const { handled, caughtUp } = seat
    const from = handled === undefined ? positions : caughtUp === true ? furthest(handled, positions) : handled
    const $unset: SeatChange['$unset'] = { caughtUp: '' }
    if (seat.wanted === lease.id) $unset.wanted = ''
    return { $set: { lease: lease.id, handled: from, at: clock.nowMs() }, $unset }
  }

  async #recover(clientId: string): Promise<void> {
    const seat = await this.#options.seats().get(documentKey(clientId))
    if (seat?.lease === this.#options.lease.id) await this.#held.settle([seat])
    else this.#held.dropStray(clientId)
  }

  async #adoptPage(page: readonly StoredSeat[], positions: Positions): Promise<number> {
    const free = page.filter(({ clientId }) => !this.#busy.has(clientId))
    const work = this.#adoptThese(free, positions)
    // Devices that connect meanwhile wait for it.
    await Promise.all(free.map(({ clientId }) => this.#occupy(clientId, () => work)))
    return work
  }

  async #adoptThese(page: readonly StoredSeat[], positions: Positions): Promise<number> {
    const changed = await Promise.all(page.map((seat) => this.#held.change(seat, this.#succession(seat, positions))))
    const gained = changed.filter((seat) => seat !== undefined)
    if (gained.length === 0) return 0
    await this.#held.settle(gained)
    this.#options.onOrphans(gained.map(({ clientId }) => clientId))
    return gained.length
  }

  async #handOver(clientId: string): Promise<void> {
    const { seats, lease, vacate, clock, log, config } = this.#options
    const asked = await seats().get(documentKey(clientId))
    if (asked?.lease !== lease.id || asked.wanted === undefined) return
    await vacate(clientId)
    const handled = await this.#held.letGo(clientId, asked.handled ?? {})
    if (handled === undefined) return
    while (!this.#stopping.signal.aborted && (await lease.confirm())) {
      try {
        if (await this.#give(clientId, handled)) return
      } catch (error) {
        log.warn({ clientId, error: describeError(error) }, 'a session is given up late, trying again')
        await sleep(clock, config.followRetryMs, this.#stopping.signal)
      }
    }
  }

  /** False when somebody changed the seat meanwhile. */
  async #give(clientId: string, handled: Positions): Promise<boolean> {
    const { seats, lease, peers, clock } = this.#options
    const seat = await seats().get(documentKey(clientId))
    if (seat?.lease !== lease.id) return true
    // Whoever asked may have given up waiting: then it stays here.
    const next = seat.wanted ?? lease.id
    const change = { $set: { lease: next, handled, at: clock.nowMs() }, $unset: { wanted: '', caughtUp: '' } } as const
    const given = await this.#held.change(seat, change)
    if (given === undefined) return false
    if (next === lease.id) await this.#held.settle([given])
    // Its lease may have ended, and been cleared away, just before.
    else if (!(await peers.isLive(next))) return this.#takeOrphan(given)
    return true
  }

  async #giveUp(clientId: string, isIdle: (clientId: string) => boolean): Promise<void> {
    const version = this.#held.versionOf(clientId)
    const handled = await this.#held.letGo(clientId, {}, () => isIdle(clientId))
    if (handled === undefined) return
    const result = await this.#options.seats().delete(documentKey(clientId), version)
    // Another edge asks for it: it is to be given, not deleted.
    if (result.status === 'conflict') this.#held.addStray(clientId)
  }

  async *#ofLease(lease: string): AsyncGenerator<StoredSeat> {
    const { seats, config } = this.#options
    for (let last = ''; !this.#stopping.signal.aborted;) {
      const page = await seats().find({ lease, _id: { $gt: last } }, { sort: { _id: 1 }, limit: config.adoptSeatsMax })
      yield* page
      last = page.at(-1)?._id ?? ''
      if (page.length < config.adoptSeatsMax) return
    }
  }
}
