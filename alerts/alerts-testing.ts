import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { ALERT, type AlertChange } from '../contracts/alert.ts'
import { ANOMALY, type Anomaly } from '../contracts/anomaly.ts'
import type { Principal } from '../contracts/authorisation.ts'
import type { DeviceFacts } from '../contracts/device-facts.ts'
import { deviceKey } from '../contracts/topics.ts'
import { EnvironmentError } from '../kernel/errors.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { seededRandom, type Random } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import { sleep, systemClock, type Clock } from '../kernel/time.ts'
import { DocumentsConfigSchema } from '../storage/documents/config.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { LmdbDocuments } from '../storage/documents/lmdb-documents.ts'
import { EventLogConfigSchema } from '../storage/event-log/config.ts'
import type { Consumer, ConsumerOptions, EventLog, LogMessage, LogRecord } from '../storage/event-log/event-log.ts'
import { LmdbEventLog } from '../storage/event-log/lmdb-event-log.ts'
import type { AlertsOptions } from './alerts.ts'
import { AlertsConfigSchema, type AlertsConfig } from './config.ts'

export const T0 = 1_700_000_000_000
/** Longest wait for something to happen; long enough for a busy machine. */
const WAIT_MAX_MS = 60_000

const checkAlerts = compileSchema(AlertsConfigSchema)
const checkDocuments = compileSchema(DocumentsConfigSchema)
const checkEventLog = compileSchema(EventLogConfigSchema)

function valid<T>(result: { status: 'valid'; value: T } | { status: 'invalid'; faults: unknown }): T {
  if (result.status === 'invalid') throw new TypeError(JSON.stringify(result.faults))
  return result.value
}

/** The default settings with some changed; windows of another process are not looked for through hours of a virtual clock, unless a test wants it. */
export function alertsConfig(changes: Partial<AlertsConfig> = {}): AlertsConfig {
  return valid(checkAlerts({ maintenanceRefreshMs: 600_000, ...changes }))
}

/** Both engines; in tests mostly the embedded ones, in one temporary folder. */
export interface Engines {
  documents: Documents
  eventLog: EventLog
  dispose(): Promise<void>
}

export async function openEngines(partitions = 2): Promise<Engines> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-alerts-'))
  const metrics = new Metrics()
  const documents = new LmdbDocuments({
    directory: join(directory, 'documents'),
    config: valid(checkDocuments({})),
    log: silentLogger,
    metrics,
  })
  const logOptions = { config: valid(checkEventLog({})), clock: systemClock, log: silentLogger, metrics, topicPrefix: '' }
  const eventLog = new LmdbEventLog({ directory: join(directory, 'log'), ...logOptions })
  await documents.start()
  await eventLog.start()
  const topics = ['anomalies', 'alerts', 'digests', 'anomalies.dlq', 'alerts.dlq']
  await eventLog.ensureTopics(topics.map((topic) => ({ topic, partitions, retentionBytes: 0, retentionMs: 0 })))
  // The engines' own timers let a process end; a test that waits for them must not.
  const hold = new MessageChannel()
  hold.port1.on('message', () => {})
  return {
    documents,
    eventLog,
    dispose: async () => {
      await eventLog.stop()
      await documents.stop()
      hold.port1.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export function alertsOptions(engines: Omit<Engines, 'dispose'>, changes: Partial<AlertsConfig> = {}, clock: Clock = systemClock): AlertsOptions {
  const config = alertsConfig({ pollWaitMs: 100, retryInitialMs: 1, retryMaxMs: 5, ...changes })
  return { ...engines, clock, random: seededRandom(1), log: silentLogger, metrics: new Metrics(), config, facts: noFacts }
}

/** Devices without labels. */
export const noFacts: DeviceFacts = { labelsOf: async () => ({}) }

let serial = 0
export function anomaly(changes: Partial<Anomaly> = {}): Anomaly {
  serial++
  return {
    id: `anomaly-${serial}`,
    tenant: 'default',
    device: 'pump-1',
    type: 'pump',
    metric: 'temperature',
    cause: 'value',
    ts: T0,
    receivedAt: T0,
    phase: 'raised',
    score: 0.9,
    severity: 'warning',
    explanation: {
      ...{ text: 'temperature was 90, expected 20 to 25', observed: 90, expected: 22, low: 20, high: 25 },
      ...{ contributions: [], detector: 'robust', detectorVersion: 1, parameters: {}, readingsSeen: 100 },
    },
    partition: 0,
    offset: serial,
    correlationId: 'c-1',
    ...changes,
  }
}

export function anomalyMessage(value: Anomaly): LogMessage {
  return { key: deviceKey(value.tenant, value.device), schema: ANOMALY, value: Buffer.from(JSON.stringify(value)) }
}

export async function readAll(eventLog: EventLog, topic: string): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  for (const [partition, { first, next }] of await eventLog.bounds(topic)) {
    for (let offset = first; offset < next;) {
      const read = await eventLog.read(topic, partition, offset, 1_000)
      records.push(...read)
      offset = (read.at(-1)?.offset ?? next) + 1
    }
  }
  return records
}

export async function alertChanges(eventLog: EventLog): Promise<AlertChange[]> {
  const records = (await readAll(eventLog, 'alerts')).filter(({ schema }) => schema === ALERT)
  return records.map((record) => JSON.parse(Buffer.from(record.value).toString('utf8')) as AlertChange)
}

/** Waits until `condition` answers something true; fails with its name when that takes too long. */
export async function until<T>(what: string, condition: () => Promise<T> | T): Promise<NonNullable<T>> {
  const deadlineMs = systemClock.monotonicMs() + WAIT_MAX_MS
  for (;;) {
    const answer = await condition()
    if (answer) return answer
    if (systemClock.monotonicMs() > deadlineMs) throw new Error(`waited too long until ${what}`)
    await sleep(systemClock, 5)
  }
}

export const operator: Principal = { kind: 'user', id: 'ana', tenant: 'default', roles: ['operator'] }
export const viewer: Principal = { kind: 'user', id: 'vic', tenant: 'default', roles: ['viewer'] }
export const stranger: Principal = { kind: 'user', id: 'sam', tenant: 'other', roles: ['admin'] }

/**
 * Waits until everything appended before for these devices is committed: a last anomaly of each, with a metric of its own, has become an
 * alert message, and a device's messages keep their order.
 */
export async function settled(eventLog: EventLog, devices: readonly string[]): Promise<void> {
  const marks = devices.map((device) => anomaly({ device, metric: 'mark' }))
  await eventLog.append('anomalies', marks.map(anomalyMessage))
  const ids = new Set(marks.map((mark) => mark.id))
  await until('the marks are alerts', async () => {
    const seen = (await alertChanges(eventLog)).filter((change) => ids.has(change.alert.lastAnomalyId))
    return seen.length >= devices.length
  })
}

/** The log, with commits that fail by chance, half of them after they were made: what a crash leaves behind. */
export function flakyLog(eventLog: EventLog, random: Random, share: number): EventLog {
  const fail = (): never => {
    throw new EnvironmentError('LOG_UNAVAILABLE', 'the commit failed on purpose', { retryable: true })
  }
  return new Proxy(eventLog, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property)
      if (property !== 'consume') return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return async (options: ConsumerOptions): Promise<Consumer> => {
        const consumer = await target.consume(options)
        const commit = consumer.commit.bind(consumer)
        consumer.commit = async (offsets, outputs) => {
          const chance = random.next()
          if (chance < share / 2) fail()
          await commit(offsets, outputs)
          if (chance < share) fail()
        }
        return consumer
      }
    },
  })
}
