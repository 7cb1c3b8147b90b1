import type { RoadSettings } from '../../contracts/operator.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { AnomalyConfig } from '../config.ts'
import { LeaseHolder } from '../models/lease.ts'
import type { Lease } from '../models/model-store.ts'
import { AdoptedChanges, changeId } from '../settings/adopted-changes.ts'
import { Gathering, type FinishedSlot } from './gathering.ts'
import type { PeersSource } from './peer-operator.ts'
import {
  metricsOf,
  PEER_ADOPTIONS_COLLECTION,
  PEER_PARTS_COLLECTION,
  PEER_SUMMARIES_COLLECTION,
  type PeerPart,
  type PeerSummary,
} from './peer-summary.ts'

export interface PeersOptions {
  documents: Documents
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AnomalyConfig
  /** Of this process: what it saw is apart from what others saw. */
  processId: string
  /** Has it left? Then it is named in no summary. Absent: none has. */
  hasLeft?: (tenant: string, device: string) => boolean
}

interface Opened {
  parts: Collection<PeerPart>
  leases: Collection<Lease>
}

/** Adoptions kept of a partition: some hours, a minute each. */
const ADOPTIONS_MAX = 256
/** Parts are joined so many polls after the first of them: those of other processes come within one. */
const PARTS_SETTLE_POLLS = 2
const PARTS_AT_ONCE = 500
const LEASE_POLLS = 6
const LEASE_ID = 'peers'

/**
 * What the devices of a type have in common, over all processes: each writes down what it saw of a slot, one of them, by lease, joins that to a
 * summary with the next number, and every partition adopts it at an offset. So a device is compared with the same peers by whoever
 * replays its readings.
 */
export class Peers implements Service, RoadSettings, PeersSource {
  readonly name = 'peers'
  readonly #options: PeersOptions
  readonly #gathering: Gathering
  readonly #adopted: AdoptedChanges<PeerSummary>
  /** By tenant and type, oldest first. */
  readonly #summaries = new Map<string, PeerSummary[]>()
  /** The keys above in the order of the summaries' numbers: which one is the oldest. */
  #order: string[] = []
  #open: Opened | undefined
  #lease: LeaseHolder | undefined
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()
  readonly #joined

  constructor(options: PeersOptions) {
    this.#options = options
    const { documents, clock, log, config, metrics } = options
    this.#gathering = new Gathering({ ...options, valuesMax: config.peersValuesMax })
    this.#adopted = new AdoptedChanges({
      ...{ documents, clock, log, pollMs: config.peersPollMs },
      changes: PEER_SUMMARIES_COLLECTION,
      adoptions: PEER_ADOPTIONS_COLLECTION,
      adoptionsMax: ADOPTIONS_MAX,
      newestMax: config.peersKept,
      onChange: (summary) => this.#note(summary),
    })
    this.#joined = metrics.counter('anomaly_peer_summaries_total', 'Slots of device types that were summarised for comparison')
  }

  async start(): Promise<void> {
    if (this.#open !== undefined) return
    const { documents, clock, config, log, processId } = this.#options
    const leases = await documents.collection<Lease>({ name: 'model-leases', indexes: [] })
    this.#open = { parts: await documents.collection<PeerPart>({ name: PEER_PARTS_COLLECTION, indexes: [] }), leases }
    this.#lease = new LeaseHolder({
      ...{ leases: () => leases, id: LEASE_ID, holder: processId, clock },
      leaseMs: LEASE_POLLS * config.peersPollMs,
    })
    await this.#adopted.start()
    const onError = (error: unknown): void => log.warn({ error: describeError(error) }, 'peers could not be summarised; tried again')
    this.#timer = every(clock, config.peersPollMs, () => this.look(), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#looking.catch(() => undefined)
    const onError = (error: unknown): void => this.#options.log.debug({ error: describeError(error) }, 'lease left to run out')
    await this.#lease?.release().catch(onError)
    await this.#adopted.stop()
    this.#open = undefined
    this.#summaries.clear()
    this.#order = []
  }

  readonly onFinished = (slot: FinishedSlot): void => this.#gathering.add(slot)

  isBehind(partitions: Iterable<number>): boolean {
    return this.#adopted.isBehind(partitions)
  }

  take(group: string, partitions: readonly number[]): Promise<void> {
    return this.#adopted.take(group, partitions)
  }

  adopt(group: string, next: ReadonlyMap<number, number>): Promise<void> {
    return this.#adopted.adopt(group, next)
  }

  numberAt(partition: number, offset: number): number {
    return this.#adopted.numberAt(partition, offset)
  }

  between(tenant: string, type: string, after: number, upTo: number): readonly PeerSummary[] {
    const own = this.#summaries.get(keyOf(tenant, type)) ?? []
    return own.slice(firstAfter(own, after), firstAfter(own, upTo))
  }

  /** Writes down what this process saw of slots that are over, and joins what all saw where it is this process's to do so. */
  look(): Promise<void> {
    this.#looking = this.#looking.catch(() => undefined).then(() => this.#look())
    return this.#looking
  }

  async #look(): Promise<void> {
    const { clock, config, processId } = this.#options
    const { parts } = this.#opened()
    const nowMs = clock.nowMs()
    for (const part of this.#gathering.due(config.peersWaitMs, nowMs)) {
      await parts.put(`${part.tenant}/${part.type}/${part.slotTs}/${processId}`, part)
    }
    if (await this.#lease?.hold()) await this.#join(nowMs)
  }

  async #join(nowMs: number): Promise<void> {
    const { config } = this.#options
    const { parts } = this.#opened()
    const bySlot = new Map<string, (PeerPart & { _id: string })[]>()
    for (const part of await parts.find({}, { sort: { _id: 1 }, limit: PARTS_AT_ONCE })) {
      const key = JSON.stringify([part.tenant, part.type, part.slotTs])
      const own = bySlot.get(key)
      if (own === undefined) bySlot.set(key, [part])
      else own.push(part)
    }
    const settled = [...bySlot.values()].filter(
      (own) => Math.min(...own.map(({ at }) => at)) <= nowMs - PARTS_SETTLE_POLLS * config.peersPollMs,
    )
    // Slots of a type in their order: what is usual is learnt in it.
    settled.sort((a, b) => (a[0]?.slotTs ?? 0) - (b[0]?.slotTs ?? 0))
    for (const own of settled) {
      await this.#summarise(own)
      for (const { _id } of own) await parts.delete(_id)
    }
    if (settled.length > 0) await this.#forgetOld()
  }

  async #summarise(parts: readonly PeerPart[]): Promise<void> {
    const [first] = parts
    if (first === undefined) return
    const { tenant, type, slotTs } = first
    const { config, hasLeft = () => false } = this.#options
    const metrics = metricsOf(parts, config.peersMin + 1, (device) => !hasLeft(tenant, device))
    if (metrics.length === 0) return
    await this.#adopted.refresh()
    // Another process joined it: what came too late for that is not compared.
    if (this.#summaries.get(keyOf(tenant, type))?.some((one) => one.slotTs === slotTs) === true) return
    const number = this.#adopted.newest + 1
    const summary = { number, tenant, type, slotTs, metrics, at: this.#options.clock.nowMs() }
    const written = await this.#adopted.collection.insert(changeId(number), summary)
    if (written.status === 'written') this.#joined.inc()
    await this.#adopted.refresh()
  }

  async #forgetOld(): Promise<void> {
    const newestForgotten = this.#adopted.newest - this.#options.config.peersKept
    if (newestForgotten > 0) await this.#adopted.collection.deleteMany({ number: { $lte: newestForgotten } })
  }

  #note(summary: PeerSummary): void {
    const key = keyOf(summary.tenant, summary.type)
    const own = this.#summaries.get(key)
    if (own === undefined) this.#summaries.set(key, [summary])
    else own.push(summary)
    this.#order.push(key)
    if (this.#order.length <= this.#options.config.peersKept) return
    const oldest = this.#order.shift() ?? ''
    const those = this.#summaries.get(oldest)
    those?.shift()
    if (those?.length === 0) this.#summaries.delete(oldest)
  }

  #opened(): Opened {
    if (this.#open === undefined) throw new TypeError('Peers.start was not called')
    return this.#open
  }
}

function keyOf(tenant: string, type: string): string {
  return `${tenant}/${type}`
}

/** Place of the first summary with a larger number. */
function firstAfter(summaries: readonly PeerSummary[], number: number): number {
  let place = summaries.length
  while (place > 0 && summaries[place - 1]!.number > number) place--
  return place
}
