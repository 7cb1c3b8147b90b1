import type { ReadingOperator } from '../contracts/operator.ts'
import type { LoggedReading } from '../contracts/reading.ts'
import { readState, writeOperator, writeState, type OperatorBytes, type SavedState } from './device-state-codec.ts'
import { DeviceLedger, type LedgerCounts, type LedgerHour } from './ledger.ts'
import { DeviceIdentity, type IdentityBounds, type IdentityData } from './identity.ts'
import { ByteWriter } from '../kernel/byte-stream.ts'
import { ConflictError, describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Clock } from '../kernel/time.ts'
import type { Collection, Documents, Stored } from '../storage/documents/documents.ts'
import { deviceKey } from '../contracts/topics.ts'
import type { Due } from './due-times.ts'
import { SpilledDevices } from './spilled-devices.ts'

/** Everything processing knows of one device. */
export interface DeviceState {
  readonly key: string
  readonly tenant: string
  readonly device: string
  type: string
  /** Readings (and rejected readings) below these offsets are in the state already. */
  nextOffset: number
  nextRejectedOffset: number
  /** Partition of the readings topic; only its owner holds the state. */
  partition: number
  /** Version of the stored state, 0 when none is: saving compares it, so that a process that lost the partition cannot overwrite its successor's. */
  version: number
  readonly identity: DeviceIdentity
  readonly ledger: DeviceLedger
  /** One state per operator, in their order. */
  readonly operatorStates: unknown[]
  changed: boolean
}

/** Whose state it is and what it covers; the rest are bytes, see `writeState`. */
interface StateDocument {
  partition: number
  tenant: string
  device: string
  nextOffset: number
  nextRejectedOffset: number
  state: Uint8Array
}

/** As states were saved before they were bytes: operators' states one after the other in `states`, or each as base64. */
interface JsonStateDocument extends Omit<StateDocument, 'state'> {
  state?: undefined
  type: string
  identity: IdentityData
  totals: LedgerCounts
  hours: LedgerHour[]
  operators: { name: string; stateVersion: number; sizeBytes?: number; base64?: string }[]
  states?: Uint8Array
}

/** States encoded at once while the road waits: a pause of some 15 ms. */
const SLICE_DEVICES = 1_000
/** States stored in one commit: a few ms in which no other document is written. */
const COMMIT_DEVICES = 250
/** Part of the bound that is freed at a time, so that room is not made for each new device. */
const ROOM_SHARE = 0.1
/** States saved at once when room is made: the road waits anyway, and each time its rows have to be written first. */
const ROOM_SLICE_DEVICES = 2_000
/** States read at once when a partition is taken. */
const PAGE_DEVICES = 1_000
const NO_BYTES = new Uint8Array(0)

/** What saving needs of the loop. */
export interface Saving {
  /** Runs something while no batch is half applied. */
  exclusively: (run: () => Promise<void>) => Promise<void>
  /** Makes the rows, outputs and ledger of what these states cover durable. */
  settle: (states: readonly DeviceState[]) => Promise<void>
  /** Between two slices, told how long the last one took. */
  rest?: ((workedMs: number) => Promise<void>) | undefined
}

export interface DeviceStatesOptions {
  /** Collection of the saved states: each consumer group has its own. */
  collection: string
  documents: Documents
  operators: readonly ReadingOperator<unknown>[]
  bounds: IdentityBounds & { devicesInMemoryMax: number; devicesSpilledMax: number }
  clock: Clock
  log: Logger
}

/** Device states in memory, saved to and loaded from the documents port. Each saved state says which offsets it covers. */
export class DeviceStates {
  readonly #options: DeviceStatesOptions
  readonly #states = new Map<string, DeviceState>()
  /** When those that are out of memory are due. */
  readonly spilled: SpilledDevices
  /** Holds the operators' states of the slice that is being saved. */
  readonly #writer = new ByteWriter()
  #slices: Promise<void> = Promise.resolve()
  #collection: Collection<StateDocument | JsonStateDocument> | undefined

  constructor(options: DeviceStatesOptions) {
    this.#options = options
    this.spilled = new SpilledDevices(options)
  }

  async start(): Promise<void> {
    this.#collection = await this.#options.documents.collection<StateDocument | JsonStateDocument>({
      name: this.#options.collection,
      indexes: [{ name: 'partition', paths: ['partition', '_id'] }],
    })
  }

  /** Brings the saved states of a partition into memory, up to the bound; `each` sees all of them. */
  async loadPartition(partition: number, each: (state: DeviceState) => void): Promise<void> {
    let after = ''
    for (;;) {
      const page = await this.#store().find({ partition, _id: { $gt: after } }, { sort: { _id: 1 }, limit: PAGE_DEVICES })
      for (const document of page) {
        const state = this.#restore(document)
        if (this.#states.size < this.#options.bounds.devicesInMemoryMax) this.#states.set(state.key, state)
        else this.spilled.enterUnseen(state)
        each(state)
      }
      if (page.length < PAGE_DEVICES) return
      after = page.at(-1)?._id ?? ''
    }
  }

  /** Forgets the states of a partition that is another's now, saved or not. */
  dropPartition(partition: number): void {
    for (const state of this.#states.values()) if (state.partition === partition) this.#states.delete(state.key)
    this.spilled.dropPartition(partition)
  }

  get(key: string): DeviceState | undefined {
    return this.#states.get(key)
  }
  all(): IterableIterator<DeviceState> {
    return this.#states.values()
  }
  get size(): number {
    return this.#states.size
  }

  /** Brings a device's state into memory: the saved one, or a fresh one. */
  async load(tenant: string, device: string, type: string, partition: number): Promise<DeviceState> {
    const key = deviceKey(tenant, device)
    const held = this.#states.get(key)
    if (held !== undefined) return held
    const saved = await this.#store().get(key)
    const state = saved === null ? this.#create(tenant, device, type, partition) : this.#restore(saved)
    this.spilled.resume(state)
    if (state.partition !== partition) moveTo(state, partition)
    this.#states.set(key, state)
    return state
  }

  /** The state of a device that is due, which stays out of memory; undefined when nothing is saved of it any more. */
  async look(due: Due): Promise<DeviceState | undefined> {
    const saved = await this.#store().get(due.key)
    if (saved === null) {
      this.spilled.delete(due.key)
      return undefined
    }
    const state = this.#restore(saved)
    this.spilled.look(state, due)
    return state
  }

  /** Takes a state that was looked at into memory. */
  admit(state: DeviceState): void {
    this.spilled.delete(state.key)
    this.#states.set(state.key, state)
  }

  /**
   * Saves every state that changed before the call, once. A state may only become durable after the rows and outputs of the readings it
   * covers, so each slice is encoded, then `settle` makes those durable, then the slice is stored. Encoding is exclusive: a state that knows
   * a reading and not yet its offset would call it a duplicate after a crash.
   */
  async save(saving: Saving): Promise<number> {
    const { clock } = this.#options
    const changed = [...this.#states.values()].filter((state) => state.changed)
    for (let at = 0; at < changed.length; at += SLICE_DEVICES) {
      const startedMs = clock.monotonicMs()
      await this.#saveSome(changed.slice(at, at + SLICE_DEVICES), saving)
      if (at + SLICE_DEVICES < changed.length) await saving.rest?.(clock.monotonicMs() - startedMs)
    }
    return changed.length
  }

  /** The state of the device of each reading, loaded where it is not in memory. */
  async of(readings: readonly LoggedReading[]): Promise<DeviceState[]> {
    const states: DeviceState[] = []
    // Readings of one device come in runs: the state of the last one is nearly always that of the next.
    let latest: DeviceState | undefined
    for (const { tenant, device, type, partition } of readings) {
      if (latest === undefined || latest.device !== device || latest.tenant !== tenant) {
        latest = this.get(deviceKey(tenant, device)) ?? (await this.load(tenant, device, type, partition))
      }
      states.push(latest)
    }
    return states
  }

  /** Is it time for `makeRoom`? */
  get isFull(): boolean {
    return this.#states.size > this.#options.bounds.devicesInMemoryMax
  }

  /**
   * Saves and drops the states that have been in memory for longest, until there is room for some more. `tell` tells a device's operators
   * the time: what they know of it only from a tick is then saved.
   */
  async makeRoom(saving: Saving, tell: (state: DeviceState) => void): Promise<void> {
    const excess = this.#states.size - Math.floor(this.#options.bounds.devicesInMemoryMax * (1 - ROOM_SHARE))
    const oldest = [...this.#states.values()].slice(0, Math.max(0, excess))
    for (let at = 0; at < oldest.length; at += ROOM_SLICE_DEVICES) {
      const slice = oldest.slice(at, at + ROOM_SLICE_DEVICES)
      await saving.exclusively(async () => {
        for (const state of slice) if (this.#states.get(state.key) === state) tell(state)
      })
      await this.#saveSome(slice, saving)
      await saving.exclusively(async () => {
        for (const state of slice) {
          if (this.#states.get(state.key) !== state) continue
          this.#states.delete(state.key)
          // Touched meanwhile, by a rejected reading or the clock: it is among the young again.
          if (state.changed || state.ledger.hasUnpublished) this.#states.set(state.key, state)
          else this.spilled.enter(state)
        }
      })
    }
  }

  /** One slice after the other: they are encoded in the same memory. */
  #saveSome(states: readonly DeviceState[], saving: Saving): Promise<void> {
    const mine = this.#slices.then(() => this.#saveSlice(states, saving))
    this.#slices = mine.catch(() => undefined)
    return mine
  }

  async #saveSlice(states: readonly DeviceState[], { exclusively, settle }: Saving): Promise<void> {
    let slice: DeviceState[] = []
    let documents: StateDocument[] = []
    await exclusively(async () => {
      slice = states.filter((state) => state.changed && this.#states.get(state.key) === state)
      this.#writer.reset()
      documents = slice.map((state) => this.#document(state))
      for (const state of slice) state.changed = false
    })
    try {
      await settle(slice)
      for (let at = 0; at < slice.length; at += COMMIT_DEVICES)
        await this.#write(slice.slice(at, at + COMMIT_DEVICES), documents.slice(at, at + COMMIT_DEVICES))
    } catch (error) {
      for (const state of slice) state.changed = true
      throw error
    }
  }

  async #write(states: readonly DeviceState[], documents: readonly StateDocument[]): Promise<void> {
    const saves = states.map(({ key, version }, index) => ({ id: key, version, document: documents[index] as StateDocument }))
    const answers = await this.#store().saveMany(saves)
    let lost: string | undefined
    for (const [index, state] of states.entries()) {
      if (answers[index] === 'written') state.version++
      else lost = state.key
    }
    if (lost !== undefined) throw new ConflictError(`the state of ${lost} was saved by another process`)
  }

  #store(): Collection<StateDocument | JsonStateDocument> {
    if (this.#collection === undefined) throw new TypeError('DeviceStates.start was not called')
    return this.#collection
  }

  #create(tenant: string, device: string, type: string, partition: number): DeviceState {
    return {
      key: deviceKey(tenant, device),
      tenant,
      device,
      type,
      partition,
      version: 0,
      nextOffset: 0,
      nextRejectedOffset: 0,
      identity: new DeviceIdentity(this.#options.bounds),
      ledger: new DeviceLedger(),
      operatorStates: this.#options.operators.map((operator) => operator.create(tenant, device, type)),
      changed: false,
    }
  }

  #restore(document: (StateDocument | JsonStateDocument) & Stored): DeviceState {
    const { tenant, device, partition, nextOffset, nextRejectedOffset, version } = document
    const saved = document.state === undefined ? ofJson(document) : readState(document.state)
    const { type } = saved
    return {
      key: deviceKey(tenant, device),
      tenant,
      device,
      type,
      partition,
      version,
      nextOffset,
      nextRejectedOffset,
      identity: new DeviceIdentity(this.#options.bounds, saved.identity),
      ledger: new DeviceLedger(saved),
      operatorStates: this.#options.operators.map((operator) =>
        this.#restoreOperator(operator, { tenant, device, type }, saved.operators.get(operator.name)),
      ),
      changed: false,
    }
  }

  #restoreOperator(
    operator: ReadingOperator<unknown>,
    { tenant, device, type }: { tenant: string; device: string; type: string },
    saved: OperatorBytes | undefined,
  ): unknown {
    if (saved !== undefined) {
      try {
        return operator.decode(saved.bytes, saved.stateVersion)
      } catch (error) {
        this.#options.log.warn({ operator: operator.name, device, error: describeError(error) }, 'saved state dropped, starting fresh')
      }
    }
    return operator.create(tenant, device, type)
  }

  #document(state: DeviceState): StateDocument {
    const { partition, tenant, device, nextOffset, nextRejectedOffset } = state
    state.ledger.prune()
    const writer = this.#writer
    const begin = writer.length
    writeState(state, writer)
    for (const [index, operator] of this.#options.operators.entries())
      writeOperator(operator.name, operator.stateVersion, () => operator.encode(state.operatorStates[index], writer), writer)
    return { partition, tenant, device, nextOffset, nextRejectedOffset, state: writer.view(begin) }
  }
}

function ofJson(document: JsonStateDocument): SavedState {
  const operators: SavedState['operators'] = new Map()
  let at = 0
  for (const { name, stateVersion, sizeBytes = 0, base64 } of document.operators) {
    const bytes = base64 === undefined ? (document.states?.subarray(at, at + sizeBytes) ?? NO_BYTES) : Buffer.from(base64, 'base64')
    operators.set(name, { bytes, stateVersion })
    at += sizeBytes
  }
  return { ...document, operators }
}

/** The topic got more partitions: the device's readings come from another one now, whose offsets say nothing about the old ones. */
function moveTo(state: DeviceState, partition: number): void {
  state.partition = partition
  state.nextOffset = 0
  state.nextRejectedOffset = 0
  state.changed = true
}
