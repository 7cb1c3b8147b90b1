import { FetchIsolationLevels, ProtocolError, type Broker } from '@platformatic/kafka'
import { describeError, type FleetpulseError } from '../../kernel/errors.ts'
import type { LogRecord } from './event-log.ts'
import { KAFKA_APIS, type FetchedPartition } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { toKafkaError, unavailable } from './kafka-errors.ts'
import { EARLIEST, groupByLeader, LATEST, listOffsets } from './kafka-offsets.ts'
import { RecordHeadersReader } from './kafka-record-headers.ts'
import { RecordReader } from './kafka-record-reader.ts'

export interface KafkaFetcherOptions {
  cluster: KafkaCluster
  /** Without the prefix, for records. */
  name: string
  /** With the prefix. */
  topic: string
  /** Something came, or a try ended. */
  onSettled: () => void
  /** Retention removed records before they were read. */
  onRemoved: (partition: number, records: number) => void
}

/** Where a partition is read, and what was fetched of it. */
interface Position {
  partition: number
  /** Next offset to be fetched. */
  fetchAt: number
  /** Next offset to be handed out. */
  next: number
  readers: RecordReader[]
  /** Behind the last record handed out. */
  handedOut: number
  /** The owner asked for this offset: one behind the beginning is a wish for all there is, not a loss. */
  isSought: boolean
}

const OFFSET_OUT_OF_RANGE = 1

/**
 * Fetches the partitions of one consumer, ahead of it as far as `prefetchBytes` allows, and only when asked. A fetch waits at the broker
 * for any of the partitions, so that one request is open per broker and nothing is polled in circles.
 */
export class KafkaFetcher {
  readonly #options: KafkaFetcherOptions
  readonly #cluster: KafkaCluster
  readonly #connections: KafkaConnections
  readonly #headers = new RecordHeadersReader()
  readonly #positions = new Map<number, Position>()
  /** By broker; a fetch that is not in here any more was cut off. */
  readonly #inFlight = new Map<string, symbol>()
  #failedTries = 0
  #failure: FleetpulseError | null = null
  #turn = 0

  constructor(options: KafkaFetcherOptions) {
    this.#options = options
    this.#cluster = options.cluster
    this.#connections = options.cluster.connections(options.cluster.config.fetchWaitMs)
  }

  /** What keeps us from reading and does not pass by itself. */
  get failure(): FleetpulseError | null {
    return this.#failure
  }

  /** Begins a partition, or goes on elsewhere in it. `isSought`: by the owner's wish. */
  seek(partition: number, offset: number, isSought: boolean): void {
    this.#positions.set(partition, { partition, fetchAt: offset, next: offset, readers: [], handedOut: offset, isSought })
    this.#cut()
  }

  remove(partition: number): void {
    this.#positions.delete(partition)
  }

  /** Where the partition is read; `handedOut` is behind the last record, `next` also behind markers that followed it. */
  position(partition: number): { handedOut: number; next: number } | undefined {
    return this.#positions.get(partition)
  }

  /** Takes fetched records of each partition in turn, beginning with another one each time. Never waits. Throws StoreError. */
  take(into: LogRecord[], recordsMax: number): void {
    const positions = [...this.#positions.values()]
    this.#turn++
    for (let i = 0; i < positions.length && into.length < recordsMax; i++) {
      try {
        this.#takeOf(positions[(this.#turn + i) % positions.length]!, into, recordsMax)
      } catch (error) {
        // What was taken before the damage is handed out first; the damage is met again when its partition's turn comes.
        if (into.length === 0) throw error
        return
      }
    }
  }

  /** Fetches from each broker that has no fetch open and of whose partitions little is left. */
  want(): void {
    for (const { key, broker, partitions } of this.#groups()) {
      if (this.#inFlight.has(key)) continue
      const positions = partitions.map((partition) => this.#positions.get(partition)!)
      let bytes = 0
      for (const { readers } of positions) for (const reader of readers) bytes += reader.bytesLeft
      if (bytes >= this.#cluster.config.prefetchBytes) continue
      const token = Symbol(key)
      this.#inFlight.set(key, token)
      void this.#fetch(key, token, broker, positions)
    }
  }

  close(): void {
    this.#positions.clear()
    this.#inFlight.clear()
    this.#cluster.health.worked(this.#part)
    this.#cluster.release(this.#connections)
  }

  get #part(): string {
    return `reading ${this.#options.topic}`
  }

  #takeOf(position: Position, into: LogRecord[], recordsMax: number): void {
    for (let reader = position.readers[0]; reader !== undefined && into.length < recordsMax; reader = position.readers[0]) {
      const before = into.length
      const isMore = reader.read(into, recordsMax)
      if (into.length > before) position.handedOut = into[into.length - 1]!.offset + 1
      position.next = reader.position
      if (isMore) return
      position.readers.shift()
    }
  }

  #groups(): { key: string; broker: Broker | null; partitions: number[] }[] {
    if (this.#positions.size === 0) return []
    try {
      return groupByLeader(this.#cluster, this.#options.topic, this.#positions.keys())
    } catch (error) {
      this.#cluster.log.debug({ topic: this.#options.topic, error: describeError(error) }, 'leaders are looked up')
      return [{ key: 'no leader', broker: null, partitions: [...this.#positions.keys()] }]
    }
  }

  async #fetch(key: string, token: symbol, broker: Broker | null, positions: readonly Position[]): Promise<void> {
    let isFailed = false
    try {
      if (broker === null) throw unavailable(`${this.#options.topic} has no leader in Kafka now`)
      const fetched = await this.#request(broker, positions)
      for (const part of fetched) await this.#accept(part, positions, token === this.#inFlight.get(key))
      this.#failedTries = 0
      this.#failure = null
      this.#cluster.health.worked(this.#part)
    } catch (error) {
      if (this.#inFlight.get(key) !== token || this.#cluster.stopped.aborted) return
      isFailed = true
      await this.#failed(error)
    }
    if (this.#inFlight.get(key) !== token) return
    this.#inFlight.delete(key)
    // What was asked for is tried until it works, polled or not: only then it is known that it works again.
    if (isFailed) this.want()
    this.#options.onSettled()
  }

  async #request(broker: Broker, positions: readonly Position[]): Promise<FetchedPartition[]> {
    const { fetchWaitMs, fetchBytesMax, partitionFetchBytesMax } = this.#cluster.config
    const partitions = positions.map(({ partition, fetchAt }) => ({
      partition,
      currentLeaderEpoch: -1,
      fetchOffset: BigInt(fetchAt),
      lastFetchedEpoch: -1,
      partitionMaxBytes: partitionFetchBytesMax,
    }))
    const topics = await this.#connections.call(
      broker,
      KAFKA_APIS.fetch,
      fetchWaitMs,
      1,
      fetchBytesMax,
      FetchIsolationLevels.READ_COMMITTED,
      0,
      -1,
      [{ topicId: this.#options.topic, partitions }],
      [],
      '',
    )
    return topics.flatMap(({ partitions: list }) => list)
  }

  /** Keeps what came for a position that still holds. */
  async #accept(part: FetchedPartition, asked: readonly Position[], isCurrent: boolean): Promise<void> {
    const position = this.#positions.get(part.partition)
    if (!isCurrent || position === undefined || !asked.includes(position)) return
    if (part.errorCode === OFFSET_OUT_OF_RANGE) return this.#returnIntoRange(position)
    if (part.errorCode !== 0) throw new ProtocolError(part.errorCode)
    if (part.records.length === 0) return
    const { name } = this.#options
    const reader = new RecordReader({ topic: name, partition: part.partition }, part.records, position.fetchAt, part.aborted, this.#headers)
    if (reader.end === position.fetchAt) return
    position.fetchAt = reader.end
    position.isSought = false
    position.readers.push(reader)
  }

  /** Retention overtook us, or the end of the partition was lost with its leader. */
  async #returnIntoRange(position: Position): Promise<void> {
    const { topic } = this.#options
    const { partition, fetchAt } = position
    const list = (time: number): Promise<Map<number, number>> => listOffsets(this.#cluster, this.#connections, topic, [partition], time)
    const first = (await list(EARLIEST)).get(partition) ?? 0
    const next = (await list(LATEST)).get(partition) ?? first
    if (this.#positions.get(partition) !== position) return
    if (fetchAt < first) {
      if (!position.isSought) this.#options.onRemoved(partition, first - fetchAt)
      position.fetchAt = first
    } else if (fetchAt > next) {
      this.#cluster.log.error(
        { topic, partition, offset: fetchAt, next },
        'Kafka lost records at the end of a partition; reading goes on at its end',
      )
      position.fetchAt = next
    }
    if (position.readers.length === 0) position.next = position.fetchAt
  }

  async #failed(error: unknown): Promise<void> {
    const { topic } = this.#options
    const problem = toKafkaError(error, `${topic} could not be read`, this.#cluster.where)
    this.#failure = problem.retryable ? null : problem
    this.#cluster.health.failed(this.#part, problem)
    await this.#cluster.pause(++this.#failedTries)
    try {
      await this.#cluster.refresh([topic])
    } catch (refreshError) {
      this.#cluster.log.debug({ topic, error: describeError(refreshError) }, 'leaders could not be looked up')
    }
  }

  /** A fetch that waits for positions nobody wants any more is cut off. */
  #cut(): void {
    if (this.#inFlight.size === 0) return
    this.#inFlight.clear()
    this.#connections.cut()
  }
}
