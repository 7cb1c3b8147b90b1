import type { ReadingOperator } from '../contracts/operator.ts'
import type { LedgerCounts, LedgerHour } from './ledger.ts'
import { DeviceLedger } from './ledger.ts'
import { DeviceIdentity, type IdentityBounds, type IdentityData } from './identity.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'
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
  readonly partition: number
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
  operators: { name: string; stateVersion: number; base64: string }[]
}

/** States encoded at once while the road waits: a pause of a few ms. */
const SLICE_DEVICES = 500

export interface DeviceStatesOptions {
  documents: Documents
  operators: readonly ReadingOperator<unknown>[]
  bounds: IdentityBounds & { devicesInMemoryMax: number }
  log: Logger
}

/** Device states in memory, saved to and loaded from the documents port. Each saved state says which offsets it covers. */
export class DeviceStates {
  readonly #options: DeviceStatesOptions
  readonly #states = new Map<string, DeviceState>()
  #collection: Collection<StateDocument> | undefined

  constructor(options: DeviceStatesOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#collection = await this.#options.documents.collection<StateDocument>({ name: 'device-states', indexes: [] })
    const documents = await this.#collection.find({}, { limit: this.#options.bounds.devicesInMemoryMax })
    for (const document of documents) this.#states.set(deviceKey(document.tenant, document.device), this.#restore(document))
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
    this.#states.set(key, state)
    return state
  }

  /**
   * Saves every state that changed. A state may only become durable after the rows and outputs of the readings it covers,
   * so each slice is encoded, then `settle` makes those durable, then the slice is stored. `exclusively` runs what must not see a batch
   * half applied: a state that knows a reading and not yet its offset would call it a duplicate after a crash.
   */
  async save(exclusively: (run: () => Promise<void>) => Promise<void>, settle: () => Promise<void>): Promise<number> {
    let saved = 0
    for (;;) {
      let slice: DeviceState[] = []
      let documents: StateDocument[] = []
      await exclusively(async () => {
        slice = this.#changedSlice()
        documents = slice.map((state) => this.#document(state))
        for (const state of slice) state.changed = false
      })
      if (slice.length === 0) break
      try {
        await settle()
        await Promise.all(documents.map((document, index) => this.#store().put((slice[index] as DeviceState).key, document)))
      } catch (error) {
        for (const state of slice) state.changed = true
        throw error
      }
      saved += slice.length
      if (slice.length < SLICE_DEVICES) break
    }
    await exclusively(async () => this.#spill())
    return saved
  }

  #changedSlice(): DeviceState[] {
    const slice: DeviceState[] = []
    for (const state of this.#states.values()) {
      if (!state.changed) continue
      slice.push(state)
      if (slice.length === SLICE_DEVICES) break
    }
    return slice
  }

  /** Drops the longest unused states above the bound; they were just saved. Oldest in memory first. */
  #spill(): void {
    for (const state of this.#states.values()) {
      if (this.#states.size <= this.#options.bounds.devicesInMemoryMax) return
      if (!state.changed && state.ledger.dirty.size === 0) this.#states.delete(state.key)
    }
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
      nextOffset: 0,
      nextRejectedOffset: 0,
      identity: new DeviceIdentity(this.#options.bounds),
      ledger: new DeviceLedger(),
      operatorStates: this.#options.operators.map((operator) => operator.create(tenant, device, type)),
      changed: false,
    }
  }

  #restore(document: StateDocument): DeviceState {
    const { tenant, device, type, partition } = document
    return {
      key: deviceKey(tenant, device),
      tenant,
      device,
      type,
      partition,
      nextOffset: document.nextOffset,
      nextRejectedOffset: document.nextRejectedOffset,
      identity: new DeviceIdentity(this.#options.bounds, document.identity),
      ledger: new DeviceLedger(document),
      operatorStates: this.#options.operators.map((operator) => this.#restoreOperator(operator, document)),
      changed: false,
    }
  }

  #restoreOperator(operator: ReadingOperator<unknown>, document: StateDocument): unknown {
    const saved = document.operators.find((candidate) => candidate.name === operator.name)
    if (saved !== undefined) {
      try {
        return operator.decode(Buffer.from(saved.base64, 'base64'), saved.stateVersion)
      } catch (error) {
        this.#options.log.warn({ operator: operator.name, device: document.device, error: describeError(error) }, 'saved state dropped, starting fresh')
      }
    }
    return operator.create(document.tenant, document.device, document.type)
  }

  #document(state: DeviceState): StateDocument {
    state.ledger.prune()
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
      operators: this.#options.operators.map((operator, index) => ({
        name: operator.name,
        stateVersion: operator.stateVersion,
        base64: Buffer.from(operator.encode(state.operatorStates[index])).toString('base64'),
      })),
    }
  }
}
