import type { API, Broker, ConnectionOptions, metadataV12 } from '@platformatic/kafka'
import { describeError, EnvironmentError, FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import { apiVersions, KAFKA_APIS, missingApis } from './kafka-apis.ts'
import { connectionOptions } from './kafka-client-options.ts'
import type { KafkaConfig } from './kafka-config.ts'
import { KafkaConnections } from './kafka-connections.ts'
import { answeredError, answerOf, noSuchTopic, toKafkaError } from './kafka-errors.ts'
import { KafkaHealth } from './kafka-health.ts'

type MetadataResponse = ReturnType<typeof metadataV12.parseResponse>

/** A topic as the brokers describe it. */
export interface KafkaTopic {
  /** Node id of each partition's leader, -1 while there is none. */
  leaders: readonly number[]
  /** Copies of the first partition. */
  replicas: number
}

export interface KafkaClusterOptions {
  clock: Clock
  random: Random
  log: Logger
  config: KafkaConfig
}

/** Key types of FindCoordinator. */
export const COORDINATOR = { group: 0, transaction: 1 } as const
const RETRY_FACTOR = 2
const RETRY_JITTER = 0.5
/** Errors by which a topic is missing in metadata. */
const UNKNOWN_TOPIC = 'UNKNOWN_TOPIC_OR_PARTITION'

/** The brokers, and what they say of topics, leaders and coordinators. */
export class KafkaCluster {
  readonly clock: Clock
  readonly log: Logger
  readonly config: KafkaConfig
  readonly health = new KafkaHealth()
  readonly #random: Random
  readonly #bootstrap: readonly Broker[]
  readonly #brokers = new Map<number, Broker>()
  readonly #topics = new Map<string, KafkaTopic>()
  readonly #pools = new Set<KafkaConnections>()
  readonly #stopping = new AbortController()
  #connection: ConnectionOptions = {}
  #control: KafkaConnections | null = null
  /** The broker that answered last: it is asked first. */
  #answering: Broker | null = null

  constructor({ clock, random, log, config }: KafkaClusterOptions) {
    this.clock = clock
    this.log = log
    this.config = config
    this.#random = random
    this.#bootstrap = config.brokers.map(parseBroker)
  }

  /** Aborts when the log stops. */
  get stopped(): AbortSignal {
    return this.#stopping.signal
  }
  /** Where we try, for messages. */
  get where(): string {
    return this.config.brokers.join(', ')
  }

  /** Reaches a broker and checks that it is new enough. Rejects with LOG_UNAVAILABLE, LOG_ACCESS_DENIED or LOG_UNSUPPORTED. */
  async start(): Promise<void> {
    this.#connection = await connectionOptions(this.config)
    this.#control = this.connections()
    const deadlineMs = this.clock.monotonicMs() + this.config.startTimeoutMs
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#greet()
      } catch (error) {
        const problem = toKafkaError(error, 'it could not be reached', this.where)
        if (!problem.retryable || this.clock.monotonicMs() >= deadlineMs) throw problem
        if (attempt === 1) this.log.warn({ error: describeError(problem) }, 'Kafka does not answer, trying again')
        await this.pause(attempt)
      }
    }
  }

  stop(): void {
    this.#stopping.abort()
    for (const pool of this.#pools) pool.close()
    this.#pools.clear()
  }

  /** Connections for a purpose of its own. `answerMs` more than usual is granted to each answer. */
  connections(answerMs = 0): KafkaConnections {
    const connection = { ...this.#connection, requestTimeout: this.config.requestTimeoutMs + answerMs }
    const pool = new KafkaConnections({ clientId: this.config.clientId, connection, log: this.log })
    this.#pools.add(pool)
    return pool
  }

  release(pool: KafkaConnections): void {
    this.#pools.delete(pool)
    pool.close()
  }

  /** Waits before the next try of something; at once when the log stops. */
  async pause(attempt: number, signal = this.stopped): Promise<void> {
    const { retryInitialMs, retryMaxMs } = this.config
    const delayMs = backoffDelayMs(
      { initialMs: retryInitialMs, maxMs: retryMaxMs, factor: RETRY_FACTOR, jitter: RETRY_JITTER },
      attempt,
      this.#random,
    )
    await sleep(this.clock, delayMs, signal)
  }

  /** Repeats what fails for a while only, until `timeoutMs`; then rejects in our family, naming `what`. */
  async retry<T>(what: string, run: () => Promise<T>, timeoutMs = this.config.requestTimeoutMs): Promise<T> {
    const deadlineMs = this.clock.monotonicMs() + timeoutMs
    for (let attempt = 1; ; attempt++) {
      try {
        return await run()
      } catch (error) {
        const problem = toKafkaError(error, what, this.where)
        if (!problem.retryable || this.stopped.aborted || this.clock.monotonicMs() >= deadlineMs) throw problem
        await this.pause(attempt)
      }
    }
  }

  /** A request that any broker answers: the first that can be reached does. */
  async callAny<A extends unknown[], R>(api: API<A, R>, ...request: A): Promise<R> {
    let failure: unknown
    const last = this.#answering === null ? [] : [this.#answering]
    for (const broker of [...last, ...this.#brokers.values(), ...this.#bootstrap]) {
      try {
        const answer = await this.#control!.call(broker, api, ...request)
        this.#answering = broker
        return answer
      } catch (error) {
        if (answeredError(error) !== undefined || error instanceof FleetpulseError) throw error
        this.#answering = null
        failure ??= error
      }
    }
    throw failure
  }

  /** A topic (its name with the prefix) as last heard of; undefined when it was never asked for or does not exist. */
  known(topic: string): KafkaTopic | undefined {
    return this.#topics.get(topic)
  }

  /** Throws NotFoundError. */
  async topic(topic: string): Promise<KafkaTopic> {
    const known = this.#topics.get(topic)
    if (known !== undefined) return known
    await this.retry('topics could not be looked up', () => this.refresh([topic]))
    const found = this.#topics.get(topic)
    if (found === undefined) throw noSuchTopic(topic)
    return found
  }

  /** Asks for brokers and leaders anew: of these topics, else of all that are known. */
  async refresh(topics: readonly string[] = [...this.#topics.keys()]): Promise<void> {
    const answer = await this.#metadata(topics)
    this.#brokers.clear()
    for (const { nodeId, host, port } of answer.brokers) this.#brokers.set(nodeId, { host, port })
    for (const { name, errorCode, partitions } of answer.topics) {
      // A broker that has just started may not know a topic yet; what was known once stays known.
      if (!name || errorCode !== 0 || partitions.length === 0) continue
      const leaders = Array.from<number>({ length: partitions.length }).fill(-1)
      for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = leaderId
      this.#topics.set(name, { leaders, replicas: partitions[0]!.replicaNodes.length })
    }
  }

  /** The leader of a partition; rejects, retryable, while there is none. */
  leader(topic: string, partition: number): Broker {
    const node = this.#topics.get(topic)?.leaders[partition]
    const broker = node === undefined ? undefined : this.#brokers.get(node)
    if (broker === undefined)
      throw new EnvironmentError('LOG_UNAVAILABLE', `${topic}/${partition} has no leader in Kafka now`, { retryable: true })
    return broker
  }

  async coordinator(type: (typeof COORDINATOR)[keyof typeof COORDINATOR], key: string): Promise<Broker> {
    const { coordinators } = await this.callAny(KAFKA_APIS.findCoordinator, type, [key])
    const { host, port } = coordinators[0]!
    return { host, port }
  }

  async #greet(): Promise<void> {
    const { apiKeys } = await this.callAny(apiVersions, 'fleetpulse', '1')
    const missing = missingApis(apiKeys)
    if (missing.length > 0) {
      throw new EnvironmentError('LOG_UNSUPPORTED', `Kafka at ${this.where} is too old: it does not know ${missing.join(', ')}`, {
        remedy: 'Use Apache Kafka 4.0 or newer.',
      })
    }
    await this.refresh([])
  }

  /** Errors of single topics stay inside the answer, except a missing right. */
  async #metadata(topics: readonly string[]): Promise<MetadataResponse> {
    try {
      return await this.callAny(KAFKA_APIS.metadata, [...topics], false, false)
    } catch (error) {
      const answer = answerOf<MetadataResponse>(error)
      const id = answeredError(error)
      if (answer === undefined || (id !== UNKNOWN_TOPIC && id !== 'LEADER_NOT_AVAILABLE')) throw error
      return answer
    }
  }
}

function parseBroker(address: string): Broker {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) }
}
