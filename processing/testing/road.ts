import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { ReadingOperator } from '../../contracts/operator.ts'
import { READING, type Reading } from '../../contracts/reading.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { jsonBytes, utf8Text } from '../../kernel/bytes.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock } from '../../kernel/time.ts'
import { DocumentsConfigSchema, type DocumentsConfig } from '../../storage/documents/config.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import { EventLogConfigSchema, type EventLogConfig } from '../../storage/event-log/config.ts'
import type { Consumer, EventLog } from '../../storage/event-log/event-log.ts'
import { LmdbEventLog } from '../../storage/event-log/lmdb-event-log.ts'
import { SeriesConfigSchema, type SeriesConfig } from '../../storage/series/config.ts'
import { DuckdbSeriesStore } from '../../storage/series/duckdb-series-store.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import { ProcessingConfigSchema, type ProcessingConfig } from '../config.ts'
import type { LedgerSummary } from '../ledger-documents.ts'
import { ReadingsWorker } from '../readings-worker.ts'

export function defaults<T>(schema: Parameters<typeof compileSchema>[0]): T {
  const checked = compileSchema(schema)({})
  assert.equal(checked.status, 'valid')
  return (checked as { value: T }).value
}

/** Counts readings per device and says so every tenth: its outputs show what was applied, how often, in which order. */
export const counter: ReadingOperator<{ count: number; lastSeq: number }> = {
  name: 'counter',
  stateVersion: 1,
  create: () => ({ count: 0, lastSeq: -1 }),
  apply: (state, reading, out) => {
    state.count++
    state.lastSeq = reading.seq ?? -1
    if (state.count % 10 === 0)
      out.emit(TOPICS.windows, 'count/1', reading.tenant, reading.device, {
        device: reading.device,
        count: state.count,
        offset: reading.offset,
      })
  },
  encode: (state, into) => into.bytes(jsonBytes(state)),
  decode: (bytes) => JSON.parse(utf8Text(bytes)) as { count: number; lastSeq: number },
}

/** The stores of a road on embedded engines in a folder of its own, and workers over them. */
export class Road {
  readonly partitions: number

  readonly folder = mkdtempSync(join(tmpdir(), 'processing-'))
  readonly eventLog = new LmdbEventLog({
    directory: join(this.folder, 'log'),
    config: defaults<EventLogConfig>(EventLogConfigSchema),
    clock: systemClock,
    log: silentLogger,
    metrics: new Metrics(),
    topicPrefix: 't.',
  })
  readonly documents = new LmdbDocuments({
    directory: join(this.folder, 'documents'),
    config: defaults<DocumentsConfig>(DocumentsConfigSchema),
    log: silentLogger,
    metrics: new Metrics(),
  })
  readonly series = new DuckdbSeriesStore({
    directory: join(this.folder, 'series'),
    config: defaults<SeriesConfig>(SeriesConfigSchema),
    clock: systemClock,
    log: silentLogger,
    metrics: new Metrics(),
  })

  constructor(partitions = 1) {
    this.partitions = partitions
  }

  async start(): Promise<void> {
    for (const store of [this.eventLog, this.documents, this.series]) await store.start()
    await this.eventLog.ensureTopics(
      ['readings', 'rejected', 'windows', 'late', 'anomalies', 'readings.dlq', 'rejected.dlq'].map((topic) => ({
        topic,
        partitions: this.partitions,
        retentionBytes: 0,
        retentionMs: 0,
      })),
    )
  }
  worker(
    options: {
      documents?: Documents
      series?: SeriesStore
      config?: Partial<ProcessingConfig>
      metrics?: Metrics
      operators?: readonly ReadingOperator<unknown>[]
      onConsumer?: (consumer: Consumer) => void
    } = {},
  ): ReadingsWorker {
    const config = { ...defaults<ProcessingConfig>(ProcessingConfigSchema), pollWaitMs: 20, seriesFlushMs: 5, ...options.config }
    const eventLog = new Proxy(this.eventLog, {
      get: (target, property) => {
        const value = Reflect.get(target, property) as unknown
        if (typeof value !== 'function') return value
        if (property !== 'consume') return value.bind(target) as unknown
        return async (...args: Parameters<EventLog['consume']>) => {
          const consumer = await target.consume(...args)
          options.onConsumer?.(consumer)
          return consumer
        }
      },
    })
    return new ReadingsWorker({
      config,
      clock: systemClock,
      log: silentLogger,
      metrics: options.metrics ?? new Metrics(),
      eventLog,
      documents: options.documents ?? this.documents,
      series: options.series ?? this.series,
      operators: options.operators ?? [counter],
    })
  }
  async append(readings: readonly Partial<Reading>[]): Promise<void> {
    const messages = readings.map((reading) => {
      const whole = {
        tenant: 'default',
        device: 'd',
        type: 'generic',
        receivedAt: 1_763_680_000_000,
        correlationId: 'c',
        ts: 1,
        values: { a: 1 },
        ...reading,
      }
      return { key: `default/${whole.device}`, schema: READING, value: jsonBytes(whole) }
    })
    await this.eventLog.append('readings', messages)
  }
  async stored(device: string): Promise<number[]> {
    const { items } = await this.series.range({ tenant: 'default', device, limit: 10_000 })
    return items.map((item) => item.seq ?? -1).reverse()
  }
  /** What the counter said, in the order of its devices' partitions. */
  async outputs(): Promise<{ device: string; count: number; offset: number }[]> {
    const outputs: { device: string; count: number; offset: number }[] = []
    for (const [partition, { next }] of await this.eventLog.bounds('windows')) {
      const records = next === 0 ? [] : await this.eventLog.read('windows', partition, 0, next)
      outputs.push(...records.map((record) => JSON.parse(utf8Text(record.value)) as { device: string; count: number; offset: number }))
    }
    return outputs
  }
  /** Of one partition. */
  async summary(partition = 0): Promise<LedgerSummary | null> {
    return (await this.documents.collection<LedgerSummary>({ name: 'ledger-summary', indexes: [] })).get(`default/${partition}`)
  }
  /** Readings stored, as the ledger's sums over all partitions say. */
  async storedByLedger(): Promise<number> {
    const summaries = await (await this.documents.collection<LedgerSummary>({ name: 'ledger-summary', indexes: [] })).find({})
    return summaries.reduce((sum, { stored }) => sum + stored, 0)
  }
  async end(): Promise<void> {
    for (const store of [this.series, this.documents, this.eventLog]) await store.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Only ends a wait in vain: machines are slow and shared. */
const WAIT_MAX_MS = 60_000

export async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + WAIT_MAX_MS
  while (!(await condition())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `waited in vain for ${what}`)
    await wait(10)
  }
}
