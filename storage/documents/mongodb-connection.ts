import { MongoClient, ReadConcern, type Db, type MongoClientOptions, type ServerDescription, type TopologyDescription } from 'mongodb'
import { FleetpulseError, StoreError, describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import { retry } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import { shownAddress } from './mongodb-address.ts'
import type { MongodbConfig } from './mongodb-config.ts'
import { mendDriver } from './mongodb-driver.ts'
import { tooOld, toStoreError, type ServerName } from './mongodb-errors.ts'
import { checkFormat } from './mongodb-format.ts'
import type { MongodbMetrics, RequestKind } from './mongodb-metrics.ts'

/** What MongoDB 6.0 announces. */
const WIRE_VERSION_MIN = 17
const RETRY_DELAY_MAX_MS = 2_000

export interface ConnectionOptions {
  config: MongodbConfig
  clock: Clock
  random: Random
  log: Logger
  metrics: MongodbMetrics
}

/**
 * One client of one server or replica set, and what every request to it has in common: tries, errors of our family, measured time, and
 * whether it works at present.
 */
export class MongodbConnection {
  readonly #options: ConnectionOptions
  readonly #name: ServerName
  readonly #client: MongoClient
  readonly #stopped = new AbortController()
  #topology: TopologyDescription | undefined
  #failing: string | null = null
  #db: Db

  /** Throws StoreError STORE_UNUSABLE for a connection string that is none. */
  constructor(options: ConnectionOptions) {
    mendDriver()
    this.#options = options
    this.#name = { address: shownAddress(options.config.url), database: options.config.database }
    try {
      this.#client = new MongoClient(options.config.url, clientOptions(options.config))
    } catch (error) {
      throw toStoreError(error, this.#name)
    }
    this.#db = this.#client.db(options.config.database)
    this.#client.on('topologyDescriptionChanged', ({ newDescription }) => this.#observe(newDescription))
  }

  get server(): ServerName {
    return this.#name
  }
  get db(): Db {
    return this.#db
  }
  /** Why requests fail at present, in one sentence; null while they work. */
  get failing(): string | null {
    return this.#failing
  }

  /** Connects and looks whether the server can be used. Throws StoreError; everything is closed then. */
  async open(): Promise<void> {
    try {
      await this.#client.connect()
      this.#checkVersion()
      // A standalone server knows no majority; on the others nobody shall act on what a failover could take back.
      const level = this.#servers().some((server) => server.setName !== null || server.type === 'Mongos') ? 'majority' : 'local'
      this.#db = this.#client.db(this.#name.database, { readConcern: new ReadConcern(level) })
      await checkFormat(this.#db, this.#name)
    } catch (error) {
      const failure = toStoreError(error, this.#name)
      await this.close()
      throw failure
    }
  }

  /** Ends what is under way and frees every connection. */
  async close(): Promise<void> {
    this.#stopped.abort()
    await this.#client.close()
  }

  /**
   * One request, repeated while its failure may pass: `work` must be one that may be done twice. Throws StoreError, with `retryable` when
   * the tries ran out, and InvalidInputError for what the server does not understand.
   */
  async request<T>(kind: RequestKind, work: () => Promise<T>): Promise<T> {
    const { config, clock, random, metrics } = this.#options
    const startedMs = clock.monotonicMs()
    try {
      const backoff = { initialMs: config.retryDelayMs, maxMs: RETRY_DELAY_MAX_MS, factor: 2, jitter: 0.5 }
      const onRetry = (): void => metrics.retried.inc()
      const options = { ...backoff, clock, random, attemptsMax: config.attemptsMax, signal: this.#stopped.signal, onRetry }
      const result = await retry(options, () => this.#attempt(work))
      this.#works()
      return result
    } finally {
      metrics.requestSeconds.observe({ request: kind }, (clock.monotonicMs() - startedMs) / 1_000)
    }
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const failure = toStoreError(error, this.#name)
      if (failure.fault === 'environment' && !this.#stopped.signal.aborted) this.#fails(failure)
      throw failure
    }
  }

  #servers(): ServerDescription[] {
    return [...(this.#topology?.servers.values() ?? [])]
  }

  #checkVersion(): void {
    const old = this.#servers().find((server) => server.type !== 'Unknown' && server.maxWireVersion < WIRE_VERSION_MIN)
    if (old !== undefined) throw tooOld(this.#name, `it speaks wire version ${old.maxWireVersion}, not ${WIRE_VERSION_MIN}`)
  }

  /** The driver looks after the server by itself, so that an idle process knows too. */
  #observe(description: TopologyDescription): void {
    this.#topology = description
    if (this.#stopped.signal.aborted) return
    const servers = this.#servers()
    if (servers.some((server) => server.isWritable)) this.#works()
    else if (servers.some((server) => server.error !== null)) {
      const reasons = servers.map((server) => (server.error === null ? 'takes no writes' : describeError(server.error)))
      this.#fails(new StoreError('STORE_UNUSABLE', `MongoDB at ${this.#name.address} does not answer: ${reasons.join('; ')}`))
    }
  }

  #fails(error: FleetpulseError): void {
    if (this.#failing === null) this.#options.log.warn({ error: describeError(error) }, 'documents cannot be stored at present')
    this.#failing = describeError(error)
  }
  #works(): void {
    if (this.#failing !== null) this.#options.log.info({ address: this.#name.address }, 'documents can be stored again')
    this.#failing = null
  }
}

function clientOptions(config: MongodbConfig): MongoClientOptions {
  return {
    appName: 'fleetpulse',
    maxPoolSize: config.poolSizeMax,
    serverSelectionTimeoutMS: config.serverSelectionTimeoutMs,
    connectTimeoutMS: config.connectTimeoutMs,
    socketTimeoutMS: config.requestTimeoutMs,
    heartbeatFrequencyMS: config.heartbeatMs,
    // Acknowledged is on the disks of a majority; a standalone server takes it as its own disk.
    writeConcern: { w: 'majority', journal: true, wtimeoutMS: config.majorityTimeoutMs },
    readPreference: 'primary',
    // The driver itself leaves them out for a standalone server, which refuses them.
    retryWrites: true,
    retryReads: true,
    ...(config.tls ? { tls: true } : {}),
    ...(config.tlsCaFile === '' ? {} : { tlsCAFile: config.tlsCaFile }),
    ...(config.tlsCertificateKeyFile === '' ? {} : { tlsCertificateKeyFile: config.tlsCertificateKeyFile }),
  }
}
