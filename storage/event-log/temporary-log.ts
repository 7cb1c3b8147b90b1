import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock, type Clock } from '../../kernel/time.ts'
import { EventLogConfigSchema, type EventLogConfig } from './config.ts'
import type { LogMessage, TopicSpec } from './event-log.ts'
import { LmdbEventLog } from './lmdb-event-log.ts'

/** The embedded engine in a temporary folder: the test double of the event log. */
export interface TemporaryLog {
  readonly log: LmdbEventLog
  readonly directory: string
  readonly metrics: Metrics
  /** Stops the log; the folder stays. */
  close: () => Promise<void>
  /** Stops the log and opens the folder again. */
  reopen: () => Promise<TemporaryLog>
  /** Stops the log and removes the folder. */
  dispose: () => Promise<void>
}

export interface TemporaryLogOptions {
  directory?: string
  config?: Partial<EventLogConfig>
  clock?: Clock
}

export async function openTemporaryLog(options: TemporaryLogOptions = {}): Promise<TemporaryLog> {
  const directory = options.directory ?? (await temporaryFolder())
  const metrics = new Metrics()
  const clock = options.clock ?? systemClock
  const log = new LmdbEventLog({
    directory,
    config: eventLogConfig(options.config),
    clock,
    log: silentLogger,
    metrics,
    topicPrefix: 'test.',
  })
  await log.start()
  const hold = holdEventLoop()
  const close = async (): Promise<void> => {
    await log.stop()
    hold.release()
  }
  return {
    log,
    directory,
    metrics,
    close,
    reopen: async () => {
      await close()
      return openTemporaryLog({ ...options, directory })
    },
    dispose: async () => {
      await close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Keeps a process whose timers all let it end (as the log's do) until released: a waiting poll alone would not. */
export function holdEventLoop(): { release(): void } {
  const { port1 } = new MessageChannel()
  port1.on('message', () => {})
  return { release: () => port1.close() }
}

export function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'fleetpulse-event-log-'))
}

/** The defaults, with some of them changed. */
export function eventLogConfig(changes: Partial<EventLogConfig> = {}): EventLogConfig {
  const checked = compileSchema(EventLogConfigSchema)({ ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

/** A topic kept for ever. */
export function topicSpec(topic: string, partitions = 1): TopicSpec {
  return { topic, partitions, retentionBytes: 0, retentionMs: 0 }
}

export function message(key: string, text: string): LogMessage {
  return { key, schema: 'text/1', value: Buffer.from(text) }
}

/** The sample of one metric, summed over its labels. */
export async function metricValue(metrics: Metrics, name: string): Promise<number> {
  const metric = await metrics.registry.getSingleMetric(`fleetpulse_${name}`)?.get()
  return (metric?.values ?? []).reduce((sum, { value }) => sum + value, 0)
}
