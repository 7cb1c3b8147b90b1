import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { compileSchema } from '../kernel/schema.ts'
import { systemClock } from '../kernel/time.ts'
import { EventLogConfigSchema } from '../storage/event-log/config.ts'
import type { EventLog, LogMessage } from '../storage/event-log/event-log.ts'
import { LmdbEventLog } from '../storage/event-log/lmdb-event-log.ts'

const MESSAGES = 1_000_000
const MESSAGES_PER_TURN = 500
const MESSAGES_PER_CALL = 5
const DEVICES = 1_000
const VALUE_BYTES = 180
const PARTITIONS = 4
const POLL_RECORDS_MAX = 4_096
/** Turns not yet durable: what 1 000 publishes in flight come to. */
const TURNS_WAITING = 4

interface Figure {
  name: string
  value: number
  unit: string
}

/** Durable appends in turns of small calls, and reads, of the embedded event log in a temporary folder. */
export async function benchmarkEventLog(report: (figure: Figure) => void): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-bench-log-'))
  const checked = compileSchema(EventLogConfigSchema)({})
  if (checked.status === 'invalid') throw new Error('the default configuration is not valid')
  const log = new LmdbEventLog({
    directory,
    config: checked.value,
    clock: systemClock,
    log: silentLogger,
    metrics: new Metrics(),
    topicPrefix: 'bench.',
  })
  try {
    await log.start()
    await log.ensureTopics([{ topic: 'readings', partitions: PARTITIONS, retentionBytes: 0, retentionMs: 0 }])
    await measureAppends(log, report)
    await measureReads(log, report)
  } finally {
    await log.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

async function measureAppends(log: EventLog, report: (figure: Figure) => void): Promise<void> {
  const calls = makeCalls()
  const latenciesMs: number[] = []
  const waiting: Promise<void>[] = []
  const startMs = systemClock.monotonicMs()
  const startCpu = process.cpuUsage()
  for (let sent = 0; sent < MESSAGES; sent += MESSAGES_PER_TURN) {
    const turnMs = systemClock.monotonicMs()
    const appends: Promise<unknown>[] = []
    for (let inTurn = 0; inTurn < MESSAGES_PER_TURN; inTurn += MESSAGES_PER_CALL) {
      appends.push(log.append('readings', calls[((sent + inTurn) / MESSAGES_PER_CALL) % calls.length]!))
    }
    waiting.push(Promise.all(appends).then(() => void latenciesMs.push(systemClock.monotonicMs() - turnMs)))
    await new Promise((resolve) => setImmediate(resolve))
    if (waiting.length >= TURNS_WAITING) await waiting.shift()
  }
  await Promise.all(waiting)
  const seconds = (systemClock.monotonicMs() - startMs) / 1_000
  const cpu = process.cpuUsage(startCpu)
  latenciesMs.sort((a, b) => a - b)
  report({ name: 'event_log_durable_appends', value: Math.round(MESSAGES / seconds), unit: 'messages/s' })
  report({ name: 'event_log_append_p99', value: round(latenciesMs[Math.floor(latenciesMs.length * 0.99)] ?? 0), unit: 'ms' })
  report({ name: 'event_log_append_cpu', value: round((cpu.user + cpu.system) / MESSAGES), unit: 'CPU-s per million messages' })
}

async function measureReads(log: EventLog, report: (figure: Figure) => void): Promise<void> {
  for (const from of ['first', 'second']) {
    const consumer = await log.consume({ group: `bench-${from}`, topic: 'readings' })
    const startMs = systemClock.monotonicMs()
    const startCpu = process.cpuUsage()
    let read = 0
    let bytes = 0
    while (read < MESSAGES) {
      const records = await consumer.poll(POLL_RECORDS_MAX, 1_000)
      for (const record of records) bytes += record.value.length
      read += records.length
    }
    const seconds = (systemClock.monotonicMs() - startMs) / 1_000
    const cpu = process.cpuUsage(startCpu)
    await consumer.close()
    if (bytes !== MESSAGES * VALUE_BYTES) throw new Error(`read ${bytes} bytes instead of ${MESSAGES * VALUE_BYTES}`)
    report({ name: `event_log_reads_${from}_pass`, value: Math.round(MESSAGES / seconds), unit: 'messages/s' })
    report({
      name: `event_log_read_cpu_${from}_pass`,
      value: round((cpu.user + cpu.system) / MESSAGES),
      unit: 'CPU-s per million messages',
    })
  }
}

function makeCalls(): LogMessage[][] {
  const calls: LogMessage[][] = []
  for (let first = 0; first < DEVICES * MESSAGES_PER_CALL; first += MESSAGES_PER_CALL) {
    const call: LogMessage[] = []
    for (let i = first; i < first + MESSAGES_PER_CALL; i++) {
      call.push({ key: `default/device-${i % DEVICES}`, schema: 'reading/1', value: Buffer.alloc(VALUE_BYTES, i) })
    }
    calls.push(call)
  }
  return calls
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await benchmarkEventLog((figure) => process.stdout.write(`${JSON.stringify(figure)}\n`))
}
