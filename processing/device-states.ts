import type { ReadingOperator } from '../contracts/operator.ts'
import type { LedgerCounts, LedgerHour } from './ledger.ts'
import { DeviceLedger } from './ledger.ts'
import { DeviceIdentity, type IdentityBounds, type IdentityData } from './identity.ts'
import { ByteWriter } from '../kernel/byte-stream.ts'
import { ConflictError, describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Collection, Documents, Stored } from '../storage/documents/documents.ts'
import { deviceKey } from '../contracts/topics.ts'

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

interface StateDocument {
  partition: number
  tenant: string
  device: string
  type: string
  nextOffset: number
  nextRejectedOffset: number
  identity: IdentityData
  totals: LedgerCounts
  hours: LedgerHour[]
  /** Whose states `states` holds, one after the other. States of version 0.1 have them as base64 instead. */
  operators: { name: string; stateVersion: number; sizeBytes?: number; base64?: string }[]
  states?: Uint8Array
}

/** States encoded at once while the road waits, and stored in one commit: a pause of a few ms. */
const SLICE_DEVICES = 250
/** Part of the bound that is freed at a time, so that room is not made for each new device. */
const ROOM_SHARE = 0.1
/** States saved at once when room is made: the road waits anyway, and each time its rows have to be written first. */
const ROOM_SLICE_DEVICES = 2_000
/** States read at once when a partition is taken. */
const PAGE_DEVICES = 1_000
const NO_BYTES = new Uint8Array(0)

/** Runs something while no batch is half applied. */
type Exclusively = (run: () => Promise<void>) => Promise<void>

export interface DeviceStatesOptions {
  /** Collection of the saved states: each consumer group has its own. */
  collection: string
  documents: Documents
  operators: readonly ReadingOperator<unknown>[]
  bounds: IdentityBounds & { devicesInMemoryMax: number }
  log: Logger
}

/** Device states in memory, saved to and loaded from the documents port. Each saved state says which offsets it covers. */
export class DeviceStates {
  readonly #options: DeviceStatesOptions
  readonly #states = new Map<string, DeviceState>()
  /** Holds the operators' states of the slice that is being saved. */
  readonly #writer = new ByteWriter()
  #collection: Collection<StateDocument> | undefined

  constructor(options: DeviceStatesOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#collection = await this.#options.documents.collection<StateDocument>({
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
        each(state)
      }
      if (page.length < PAGE_DEVICES) return
      after = page.at(-1)?._id ?? ''
    }
  }

  /** Forgets the states of a partition that is another's now, saved or not. */
  dropPartition(partition: number): void {
    for (const state of this.#states.values()) if (state.partition === partition) this.#states.delete(state.key)
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
    if (state.partition !== partition) moveTo(state, partition)
    this.#states.set(key, state)
    return state
  }

  /**
   * Saves every state that changed before the call, once. A state may only become durable after the rows and outputs of the readings it
   * covers, so each slice is encoded, then `settle` makes those durable, then the slice is stored. `exclusively` runs what must not see a
   * batch half applied: a state that knows a reading and not yet its offset would call it a duplicate after a crash.
   */
  async save(exclusively: Exclusively, settle: () => Promise<void>): Promise<number> {
    const changed = [...this.#states.values()].filter((state) => state.changed)
    for (let at = 0; at < changed.length; at += SLICE_DEVICES)
      await this.#saveSome(changed.slice(at, at + SLICE_DEVICES), exclusively, settle)
    return changed.length
  }

  /** Is it time for `makeRoom`? */
  get isFull(): boolean {
    return this.#states.size > this.#options.bounds.devicesInMemoryMax
  }

  /** Saves and drops the states that have been in memory for longest, until there is room for some more. */
  async makeRoom(exclusively: Exclusively, settle: () => Promise<void>): Promise<void> {
    const excess = this.#states.size - Math.floor(this.#options.bounds.devicesInMemoryMax * (1 - ROOM_SHARE))
    const oldest = [...this.#states.values()].slice(0, Math.max(0, excess))
    for (let at = 0; at < oldest.length; at += ROOM_SLICE_DEVICES) {
      const slice = oldest.slice(at, at + ROOM_SLICE_DEVICES)
      await this.#saveSome(slice, exclusively, settle)
      await exclusively(async () => {
        for (const state of slice) {
          if (this.#states.get(state.key) !== state) continue
          this.#states.delete(state.key)
          // Touched meanwhile, by a rejected reading or the clock: it is among the young again.
          if (state.changed || state.ledger.dirty.size > 0) this.#states.set(state.key, state)
        }
      })
    }
  }

  async #saveSome(states: readonly DeviceState[], exclusively: Exclusively, settle: () => Promise<void>): Promise<void> {
    let slice: DeviceState[] = []
    let documents: StateDocument[] = []
    await exclusively(async () => {
      slice = states.filter((state) => state.changed && this.#states.get(state.key) === state)
      this.#writer.reset()
      documents = slice.map((state) => this.#document(state))
      for (const state of slice) state.changed = false
    })
    try {
      await settle()
      for (let at = 0; at < slice.length; at += SLICE_DEVICES)
        await this.#write(slice.slice(at, at + SLICE_DEVICES), documents.slice(at, at + SLICE_DEVICES))
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

  #store(): Collection<StateDocument> {
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

  #restore(document: StateDocument & Stored): DeviceState {
    const { tenant, device, type, partition } = document
    return {
      key: deviceKey(tenant, device),
      tenant,
      device,
      type,
      partition,
      version: document.version,
      nextOffset: document.nextOffset,
      nextRejectedOffset: document.nextRejectedOffset,
      identity: new DeviceIdentity(this.#options.bounds, document.identity),
      ledger: new DeviceLedger(document),
      operatorStates: this.#operatorStates(document),
      changed: false,
    }
  }

  #operatorStates(document: StateDocument): unknown[] {
    const saved = new Map<string, { bytes: Uint8Array; stateVersion: number }>()
    let at = 0
    for (const { name, stateVersion, sizeBytes = 0, base64 } of document.operators) {
      const bytes = base64 === undefined ? (document.states?.subarray(at, at + sizeBytes) ?? NO_BYTES) : Buffer.from(base64, 'base64')
      saved.set(name, { bytes, stateVersion })
      at += sizeBytes
    }
    return this.#options.operators.map((operator) => this.#restoreOperator(operator, document, saved.get(operator.name)))
  }

  #restoreOperator(
    operator: ReadingOperator<unknown>,
    { tenant, device, type }: StateDocument,
    saved: { bytes: Uint8Array; stateVersion: number } | undefined,
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
    state.ledger.prune()
    const { operators } = this.#options
    const writer = this.#writer
    const begin = writer.length
    const sizes = operators.map((operator, index) => {
      const from = writer.length
      operator.encode(state.operatorStates[index], writer)
      return writer.length - from
    })
    return {
      partition: state.partition,
      tenant: state.tenant,
      device: state.device,
      type: state.type,
      nextOffset: state.nextOffset,
      nextRejectedOffset: state.nextRejectedOffset,
      identity: state.identity.toData(),
      totals: { ...state.ledger.totals },
      hours: state.ledger.hours,
      operators: operators.map(({ name, stateVersion }, index) => ({ name, stateVersion, sizeBytes: sizes[index] ?? 0 })),
      states: writer.view(begin),
    }
  }
}

/** The topic got more partitions: the device's readings come from another one now, whose offsets say nothing about the old ones. */
function moveTo(state: DeviceState, partition: number): void {
  state.partition = partition
  state.nextOffset = 0
  state.nextRejectedOffset = 0
  state.changed = true
}
