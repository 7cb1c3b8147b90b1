import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { AnomalyOperator } from '../anomaly/anomaly-operator.ts'
import { CorrelationOperator } from '../anomaly/joint/correlation-operator.ts'
import { loadConfig } from '../app/config.ts'
import { openDocuments, openEventLog, openSeries } from '../app/engines.ts'
import { topicSpecs } from '../app/topics.ts'
import { READING } from '../contracts/reading.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { gaussian, seededRandom, systemRandom } from '../kernel/random.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { ReadingsWorker } from '../processing/readings-worker.ts'
import { WindowOperator } from '../processing/windows/window-operator.ts'
import { anonymousMb } from './harness/process-usage.ts'

/*
 * The road below the broker, for one number of devices, as a process of its own: readings are appended to the event log at a steady rate,
 * each device in turn, and go through windows and detector into the store, after --history readings that are not measured. Prints one
 * line of JSON: processor time per reading, memory.
 */

const TENANT = 'default'
const TURN_MS = 20
const VALUES = 4_096

const { values: options } = parseArgs({
  options: {
    devices: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '60' },
    metrics: { type: 'string', default: '2' },
    history: { type: 'string', default: '24000' },
    'history-minutes': { type: 'string', default: '8' },
  },
})
const devices = Number(options.devices)
const perTurn = Math.round((Number(options.rate) * TURN_MS) / 1_000)
const metricNames = Array.from({ length: Number(options.metrics) }, (_, i) => `metric${i}`)
const folder = mkdtempSync(join(tmpdir(), 'fleetpulse-fleet-'))
const config = loadConfig({ env: process.env, file: '/nonexistent' })
const context = { dataDirectory: folder, clock: systemClock, random: systemRandom, log: silentLogger, metrics: new Metrics() }
const documents = await openDocuments(config, context)
const eventLog = await openEventLog(config, context)
const series = await openSeries(config, context)
let anonymousMaxMb = 0
const alive = setInterval(() => (anonymousMaxMb = Math.max(anonymousMaxMb, anonymousMb(process.pid))), 1_000)
const random = seededRandom(3)
const noise = Array.from({ length: VALUES }, () => 20 + gaussian(random))
let sent = 0

function nextReading(agoMs = 0) {
  const device = `device-${sent % devices}`
  const seq = Math.floor(sent / devices)
  const ts = systemClock.nowMs() - agoMs
  const values = Object.fromEntries(metricNames.map((name, i) => [name, noise[(sent * 7 + i) % VALUES] as number]))
  sent++
  const reading = { tenant: TENANT, device, type: 'generic', receivedAt: ts, correlationId: `c${sent}`, ts, boot: 'b', seq, values }
  return { key: deviceKey(TENANT, device), schema: READING, value: jsonBytes(reading) }
}

/** What devices said before, as fast as the road takes it; in event time, over so long that no window is the first of its device. */
async function feedHistory(readings: number): Promise<void> {
  const startedMs = systemClock.nowMs()
  const spanMs = Number(options['history-minutes']) * 60_000
  const from = sent
  while (sent < from + readings) {
    const done = sent - from
    const agoMs = spanMs * (1 - done / readings) + (systemClock.nowMs() - startedMs)
    await eventLog.append(
      TOPICS.readings,
      Array.from({ length: Math.min(perTurn, readings - done) }, () => nextReading(agoMs)),
    )
    if (sent - (await series.count(TENANT)) > 20 * perTurn) await settled(sent - 10 * perTurn)
  }
}

async function feed(readings: number): Promise<void> {
  const until = sent + readings
  for (let dueMs = systemClock.monotonicMs(); sent < until; dueMs += TURN_MS) {
    await eventLog.append(
      TOPICS.readings,
      Array.from({ length: Math.min(perTurn, until - sent) }, () => nextReading()),
    )
    const waitMs = dueMs + TURN_MS - systemClock.monotonicMs()
    if (waitMs > 0) await sleep(systemClock, waitMs)
  }
}

async function settled(readings = sent): Promise<void> {
  while ((await series.count(TENANT)) < readings) await sleep(systemClock, TURN_MS)
}

try {
  for (const store of [documents, eventLog, series]) await store.start()
  await eventLog.ensureTopics(topicSpecs(config))
  const single = new AnomalyOperator({ ...context, config: config.anomaly, silenceAfterMs: () => null })
  const operators = [
    new WindowOperator({ ...context, config: config.windows }),
    single,
    new CorrelationOperator({ config: config.anomaly, anomalyMetrics: single.anomalyMetrics }),
  ]
  const worker = new ReadingsWorker({
    ...context,
    config: { ...config.processing, seriesFlushMs: config.processing.seriesFlushMs || 100 },
    eventLog,
    documents,
    series,
    operators,
  })
  await worker.start()
  // Every device has said something for a while before anything is measured: its states do not grow any more, as in a fleet that is there.
  await feedHistory(Math.max(Number(options.history), Number(options.rate) * 2))
  await settled()
  process.stderr.write('history is told; measuring\n')
  const cpuBefore = process.cpuUsage()
  const sentBefore = sent
  const startedMs = systemClock.monotonicMs()
  await feed(Number(options.rate) * Number(options.seconds))
  await settled()
  const cpu = process.cpuUsage(cpuBefore)
  const readings = sent - sentBefore
  const result = {
    devices,
    readings,
    perS: Math.round((readings * 1_000) / (systemClock.monotonicMs() - startedMs)),
    cpuMicrosecondsPerReading: (cpu.user + cpu.system) / readings,
    anonymousMb: Math.round(anonymousMb(process.pid)),
    anonymousMaxMb: Math.round(anonymousMaxMb),
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
  await worker.stop()
} finally {
  clearInterval(alive)
  for (const store of [series, eventLog, documents]) await store.stop()
  rmSync(folder, { recursive: true, force: true })
}
