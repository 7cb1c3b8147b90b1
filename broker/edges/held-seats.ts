import { describeError, EnvironmentError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Collection, Stored } from '../../storage/documents/documents.ts'
import type { CommandFeed } from './command-feed.ts'
import type { Positions, SeatDocument } from './edge-documents.ts'

/** Where the state of the devices is held that this edge holds. */
export interface SeatMirror {
  adopt(clientIds: readonly string[]): Promise<void>
  isWarm(clientId: string): boolean
  warm(clientId: string): Promise<void> | undefined
  release(clientId: string): Promise<void>
}

export interface HeldSeatsOptions {
  seats: () => Collection<SeatDocument>
  feed: CommandFeed
  mirror: SeatMirror
  log: Logger
}

export interface SeatChange {
  $set?: Partial<SeatDocument>
  $unset?: Partial<Record<keyof SeatDocument, ''>>
}

export type StoredSeat = SeatDocument & Stored

/** The devices that this edge holds, from the seat in the store to state in memory and commands handled, and back. */
export class HeldSeats {
  readonly #options: HeldSeatsOptions
  /** Versions of the seats. */
  readonly #versions = new Map<string, number>()
  /** Seats of this edge's of which it is not on record that it has caught up; tried again until it is. */
  readonly #strays = new Set<string>()
  /** Devices whose earlier commands were not handled yet: later ones wait for them. */
  readonly #late = new Set<string>()
  /** Grows when everything is lost: what was begun before must not end after it. */
  #era = 0

  constructor(options: HeldSeatsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#versions.size
  }
  get clientIds(): string[] {
    return [...this.#versions.keys()]
  }
  get strays(): string[] {
    return [...this.#strays]
  }
  has(clientId: string): boolean {
    return this.#versions.has(clientId)
  }
  /** Is it on record that this edge has caught up with the device's commands? */
  isSettled(clientId: string): boolean {
    return this.has(clientId) && !this.#strays.has(clientId)
  }
  /** Are there commands for the device that come before those that are read now? They come by catching up, these with them. */
  isLate(clientId: string): boolean {
    return this.#late.has(clientId)
  }

  /** A seat that the last run with this lease held; its state is loaded with everybody's. */
  resume(seat: StoredSeat): void {
    const { clientId, version, handled } = seat
    this.#versions.set(clientId, version)
    if (isBehind(seat)) {
      this.#strays.add(clientId)
      this.#late.add(clientId)
    } else if (handled !== undefined) this.#options.feed.passOver(clientId, handled)
  }

  /** A seat that was made just now, by whoever handles records. */
  async begin(seat: StoredSeat): Promise<void> {
    const { mirror } = this.#options
    const { clientId, version } = seat
    const era = this.#era
    await mirror.adopt([clientId])
    await mirror.warm(clientId)
    await this.#requireEra(era, [seat])
    this.#versions.set(clientId, version)
  }

  /** Seats that are this edge's in the store: loads their state and handles their commands up to where this edge is. */
  async settle(gained: readonly StoredSeat[]): Promise<void> {
    const { feed, log } = this.#options
    const era = this.#era
    const fresh = gained.filter(({ clientId }) => !this.has(clientId))
    for (const { clientId } of gained) this.#strays.add(clientId)
    if (fresh.length > 0) await this.#load(fresh.map(({ clientId }) => clientId))
    const late = gained.filter((seat) => isBehind(seat) || fresh.includes(seat))
    await this.#requireEra(era, fresh)
    for (const { clientId } of late) this.#late.add(clientId)
    try {
      await feed.exclusive(async () => {
        await this.#requireEra(era, fresh)
        for (const { clientId, version } of gained) this.#versions.set(clientId, version)
        await feed.catchUp(new Map(late.map((seat) => [seat.clientId, seat.handled ?? {}])))
        for (const { clientId } of late) this.#late.delete(clientId)
      })
    } catch (error) {
      if (era !== this.#era) throw error
      // The device may connect; its commands follow when they can be read.
      log.warn({ devices: late.length, error: describeError(error) }, 'commands of devices taken over come later')
      return
    }
    await Promise.all(late.filter(isBehind).map((seat) => this.#recordCaughtUp(seat)))
    for (const { clientId } of gained) this.#strays.delete(clientId)
  }

  /**
   * Lets a device go, unless `mayGo` says otherwise at the last moment; answers how far its commands were handled, `before` being how far
   * they were when it came.
   */
  async letGo(clientId: string, before: Positions, mayGo: () => boolean = () => true): Promise<Positions | undefined> {
    const { feed, mirror } = this.#options
    const handled = await feed.exclusive(() => {
      if (!mayGo() || !this.#versions.delete(clientId)) return Promise.resolve(undefined)
      this.#strays.delete(clientId)
      // What this edge could not catch up with its successor begins with.
      return Promise.resolve(this.#late.delete(clientId) ? before : feed.positionsOf(clientId))
    })
    if (handled !== undefined) await mirror.release(clientId)
    return handled
  }

  /** A seat that is this edge's in the store though it let it go: it is taken again. */
  addStray(clientId: string): void {
    this.#strays.add(clientId)
  }
  dropStray(clientId: string): void {
    this.#strays.delete(clientId)
  }

  /** Holds nothing any more: another edge has it by now. Answers whose state is in memory still, to be released. */
  dropAll(): string[] {
    const { clientIds } = this
    this.#era++
    this.#versions.clear()
    this.#strays.clear()
    this.#late.clear()
    return clientIds
  }

  /** Changes a seat as it was seen; undefined when somebody changed it since. */
  async change(seat: StoredSeat, change: SeatChange): Promise<StoredSeat | undefined> {
    const result = await this.#options.seats().update(seat._id, change as Readonly<Record<string, unknown>>, seat.version)
    if (result.status !== 'written') return undefined
    if (this.has(seat.clientId)) this.#versions.set(seat.clientId, result.document.version)
    return result.document
  }

  versionOf(clientId: string): number | undefined {
    return this.#versions.get(clientId)
  }

  /** Another edge may ask for the seat meanwhile, which changes its version. */
  async #recordCaughtUp(seat: StoredSeat): Promise<void> {
    let current: StoredSeat | null = seat
    while (current?.lease === seat.lease && (await this.change(current, { $set: { caughtUp: true } })) === undefined) {
      current = await this.#options.seats().get(seat._id)
    }
  }

  async #requireEra(era: number, fresh: readonly StoredSeat[]): Promise<void> {
    if (era === this.#era) return
    for (const { clientId } of fresh) await this.#options.mirror.release(clientId)
    throw new EnvironmentError('SESSION_TAKEN', 'this edge lost its sessions while it took over another one', { retryable: true })
  }

  async #load(clientIds: readonly string[]): Promise<void> {
    const { mirror } = this.#options
    try {
      await mirror.adopt(clientIds)
    } catch (error) {
      for (const clientId of clientIds) await mirror.release(clientId)
      throw error
    }
  }
}

function isBehind(seat: SeatDocument): boolean {
  return seat.handled !== undefined && seat.caughtUp !== true
}
