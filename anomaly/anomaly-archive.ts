import { ANOMALY, type Anomaly } from '../contracts/anomaly.ts'
import { TOPICS } from '../contracts/topics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { describeError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Service } from '../kernel/service.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'
import type { Consumer, EventLog, LogRecord } from '../storage/event-log/event-log.ts'

export interface AnomalyQuery {
  tenant: string
  device?: string
  metric?: string
  /** Event time, epoch ms; `toTs` is exclusive. */
  fromTs?: number
  toTs?: number
  limit: number
  /** Last one of the page before. */
  after?: { ts: number; id: string }
  /** Oldest event time first, instead of newest. */
  oldestFirst?: boolean
}

export interface AnomalyArchiveOptions {
  eventLog: EventLog
  documents: Documents
  clock: Clock
  log: Logger
  metrics: Metrics
  /** Anomalies kept; the oldest by receipt go first. */
  anomaliesMax: number
  /** False where it is only read: another process fills it. */
  works?: boolean
}

const GROUP = 'anomaly-archive'
const POLL_RECORDS_MAX = 500
const POLL_WAIT_MS = 250
const RETRY_MS = 500
/** How often the bound is enforced, in anomalies archived. */
const PRUNE_EVERY = 1_000

/** Keeps every anomaly as a document, so that alerts, charts and explanations can find it. Idempotent: its id is the anomaly's. */
export class AnomalyArchive implements Service {
  readonly name = 'anomaly-archive'
  readonly #options: AnomalyArchiveOptions
  readonly #archived
  #collection: Collection<Anomaly> | undefined
  #consumer: Consumer | undefined
  #loop: Promise<void> | undefined
  readonly #stopping = new AbortController()
  #sincePrune = 0

  constructor(options: AnomalyArchiveOptions) {
    this.#options = options
    this.#archived = options.metrics.counter('anomaly_archived_anomalies_total', 'Anomalies written to the archive')
  }

  async start(): Promise<void> {
    if (this.#collection !== undefined) return
    this.#collection = await this.#options.documents.collection<Anomaly>({
      name: 'anomalies',
      indexes: [
        { name: 'by-time', paths: ['tenant', 'ts'] },
        { name: 'by-device', paths: ['tenant', 'device', 'ts'] },
        { name: 'by-receipt', paths: ['receivedAt'] },
      ],
    })
    if (this.#options.works === false) return
    this.#consumer = await this.#options.eventLog.consume({ group: GROUP, topic: TOPICS.anomalies, from: 'earliest' })
    this.#loop = this.#run(this.#consumer)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
    await this.#consumer?.close()
    this.#consumer = undefined
    this.#collection = undefined
  }

  /** Newest event time first. */
  async list(query: AnomalyQuery): Promise<{ items: Anomaly[]; more: boolean }> {
    const conditions: object[] = [{ tenant: query.tenant }]
    if (query.device !== undefined) conditions.push({ device: query.device })
    if (query.metric !== undefined) conditions.push({ metric: query.metric })
    if (query.fromTs !== undefined) conditions.push({ ts: { $gte: query.fromTs } })
    if (query.toTs !== undefined) conditions.push({ ts: { $lt: query.toTs } })
    if (query.after !== undefined)
      conditions.push({ ts: { $lte: query.after.ts } }, { $or: [{ ts: { $lt: query.after.ts } }, { id: { $lt: query.after.id } }] })
    const order = query.oldestFirst === true ? 1 : -1
    const found = await this.#opened().find({ $and: conditions }, { sort: { ts: order, id: order }, limit: query.limit + 1 })
    return { items: found.slice(0, query.limit), more: found.length > query.limit }
  }

  /** Throws NotFoundError, also for another tenant's. */
  async get(tenant: string, id: string): Promise<Anomaly> {
    const anomaly = await this.#opened().get(id)
    if (anomaly === null || anomaly.tenant !== tenant) throw new NotFoundError(`there is no anomaly ${id.slice(0, 200)}`)
    return anomaly
  }

  async #run(consumer: Consumer): Promise<void> {
    const { clock, log } = this.#options
    let records: LogRecord[] = []
    while (!this.#stopping.signal.aborted) {
      try {
        if (records.length === 0) records = await consumer.poll(POLL_RECORDS_MAX, POLL_WAIT_MS)
        if (records.length === 0) continue
        await this.#archive(records)
        await consumer.commit(new Map(records.map((record) => [record.partition, record.offset + 1])))
        records = []
      } catch (error) {
        log.warn({ error: describeError(error) }, 'anomalies wait for the archive')
        await sleep(clock, RETRY_MS, this.#stopping.signal)
      }
    }
  }

  async #archive(records: readonly LogRecord[]): Promise<void> {
    const anomalies = records.filter((record) => record.schema === ANOMALY).flatMap((record) => this.#parse(record))
    const written = await Promise.all(anomalies.map((anomaly) => this.#put(anomaly)))
    const count = written.filter(Boolean).length
    this.#archived.inc(count)
    this.#sincePrune += count
    if (this.#sincePrune < PRUNE_EVERY) return
    this.#sincePrune = 0
    await this.#prune()
  }

  /** False for what the documents cannot hold whatever is tried: it must not keep the others waiting. */
  async #put(anomaly: Anomaly): Promise<boolean> {
    try {
      await this.#opened().put(anomaly.id, anomaly)
      return true
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error
      const { device, partition, offset } = anomaly
      this.#options.log.error({ device, partition, offset, error: describeError(error) }, 'anomaly left out of the archive')
      return false
    }
  }

  async #prune(): Promise<void> {
    const excess = (await this.#opened().count({})) - this.#options.anomaliesMax
    if (excess <= 0) return
    const [last] = await this.#opened().find({}, { sort: { receivedAt: 1 }, skip: excess - 1, limit: 1 })
    if (last !== undefined) await this.#opened().deleteMany({ receivedAt: { $lte: last.receivedAt } })
  }

  #parse(record: LogRecord): Anomaly[] {
    try {
      const anomaly = JSON.parse(utf8Text(record.value)) as Anomaly | null
      if (typeof anomaly?.id === 'string') return [anomaly]
      throw new InvalidInputError('it is no anomaly')
    } catch (error) {
      this.#options.log.error(
        { offset: record.offset, partition: record.partition, error: describeError(error) },
        'anomaly record cannot be decoded, left out of the archive',
      )
      return []
    }
  }

  #opened(): Collection<Anomaly> {
    if (this.#collection === undefined) throw new TypeError('AnomalyArchive.start was not called')
    return this.#collection
  }
}
