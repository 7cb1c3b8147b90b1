import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { compileSchema } from '../kernel/schema.ts'
import { systemClock } from '../kernel/time.ts'
import type { LoggedReading } from '../contracts/reading.ts'
import { SeriesConfigSchema } from '../storage/series/config.ts'
import { DuckdbSeriesStore } from '../storage/series/duckdb-series-store.ts'

const START_TS = 1_763_680_000_000
const DEVICES = 50
const PARTITIONS = 4

export interface SeriesFigure {
  bench: string
  value: number
  unit: string
  [detail: string]: number | string
}

interface Shape {
  bench: string
  /** Rows of one write. */
  batchRows: number
  rows: number
  deviceNameLength: number
}

/** Writes of two metrics a reading in several batch sizes, then queries over what was written; in a temporary folder. */
export async function benchmarkSeries(report: (figure: SeriesFigure) => void, rows = 2_000_000): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-bench-series-'))
  const checked = compileSchema(SeriesConfigSchema)({})
  if (checked.status === 'invalid') throw new Error('the default configuration is not valid')
  const store = new DuckdbSeriesStore({ directory, config: checked.value, clock: systemClock, log: silentLogger, metrics: new Metrics() })
  try {
    await store.start()
    const bench = new WriteBench(store, report)
    await bench.run({ bench: 'series-write-warm-up', batchRows: 5_000, rows: 200_000, deviceNameLength: 9 })
    await bench.run({ bench: 'series-write-5000', batchRows: 5_000, rows, deviceNameLength: 9 })
    await bench.run({ bench: 'series-write-5000-long-names', batchRows: 5_000, rows: rows / 2, deviceNameLength: 24 })
    await bench.run({ bench: 'series-write-1000', batchRows: 1_000, rows: rows / 4, deviceNameLength: 9 })
    await bench.run({ bench: 'series-write-100', batchRows: 100, rows: rows / 40, deviceNameLength: 9 })
    await measureQueries(store, report)
    await measureGrowth(store, bench, report, rows * 2)
    const { size } = await stat(join(directory, 'series.duckdb'))
    report({ bench: 'series-file-bytes-per-row', value: Number((size / (await store.count('default'))).toFixed(1)), unit: 'bytes' })
  } finally {
    await store.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

class WriteBench {
  readonly #store: DuckdbSeriesStore
  readonly #report: (figure: SeriesFigure) => void
  #offset = 0

  constructor(store: DuckdbSeriesStore, report: (figure: SeriesFigure) => void) {
    this.#store = store
    this.#report = report
  }

  async run(shape: Shape): Promise<void> {
    const devices = Array.from({ length: DEVICES }, (_, i) => `bench-${String(i).padStart(3, '0')}`.padEnd(shape.deviceNameLength, 'x'))
    const writesMs: number[] = []
    const cpu = { user: 0, system: 0 }
    let callingThreadMs = 0
    for (let done = 0; done < shape.rows; done += shape.batchRows) {
      const batch = this.#batch(shape.batchRows, devices)
      const next = new Map(Array.from({ length: PARTITIONS }, (_, partition) => [partition, this.#offset]))
      const cpuBefore = process.cpuUsage()
      const busyBeforeMs = callingThreadCpuMs()
      const startMs = systemClock.monotonicMs()
      await this.#store.write(batch, next)
      writesMs.push(systemClock.monotonicMs() - startMs)
      callingThreadMs += callingThreadCpuMs() - busyBeforeMs
      const used = process.cpuUsage(cpuBefore)
      cpu.user += used.user
      cpu.system += used.system
    }
    const totalMs = writesMs.reduce((sum, ms) => sum + ms, 0)
    writesMs.sort((a, b) => a - b)
    this.#report({
      bench: shape.bench,
      value: Math.round((shape.rows / totalMs) * 1_000),
      unit: 'rows/s',
      batchRows: shape.batchRows,
      p50Ms: round(writesMs[writesMs.length >> 1] ?? 0),
      p99Ms: round(writesMs[Math.floor(writesMs.length * 0.99)] ?? 0),
      maxMs: round(writesMs.at(-1) ?? 0),
      cpuMicrosPerRow: round((cpu.user + cpu.system) / shape.rows),
      callingThreadMicrosPerRow: round((callingThreadMs * 1_000) / shape.rows),
      rssMb: process.memoryUsage.rss() >> 20,
    })
  }

  /** Readings as the log gives them: every text a string of its own. */
  #batch(rows: number, devices: readonly string[]): LoggedReading[] {
    const batch: unknown[] = []
    for (let i = 0; i < rows; i++) {
      const offset = this.#offset++
      batch.push({
        tenant: 'default',
        device: devices[i % devices.length],
        type: 'generic',
        receivedAt: START_TS + offset,
        correlationId: `c${offset}`,
        ts: START_TS + offset,
        boot: 'b7',
        seq: Math.floor(offset / DEVICES),
        values: { temperature: 20 + Math.sin(offset / 100), pressure: 1_000 + (i % 997) * 0.37 },
        partition: i % PARTITIONS,
        offset,
      })
    }
    return JSON.parse(JSON.stringify(batch)) as LoggedReading[]
  }
}

async function measureQueries(store: DuckdbSeriesStore, report: (figure: SeriesFigure) => void): Promise<void> {
  const device = 'bench-007'
  const tenant = 'default'
  const rows = await store.count(tenant)
  const hour = { tenant, device, metric: 'temperature', fromTs: START_TS, toTs: START_TS + 3_600_000, intervalMs: 10_000 }
  const { items } = await store.range({ tenant, device, limit: 5_000 })
  const asked = items.map(({ ts, boot, seq }) => ({ tenant, device, ts, boot, seq, partition: 3, offset: Number.MAX_SAFE_INTEGER }))
  const queries: [string, () => Promise<unknown>][] = [
    ['series-latest', () => store.latest(tenant, device)],
    ['series-range-100', () => store.range({ tenant, limit: 100 })],
    ['series-range-device-1000', () => store.range({ tenant, device, limit: 1_000 })],
    ['series-downsample-hour', () => store.downsample(hour)],
    ['series-count', () => store.count(tenant)],
    ['series-contains-5000', () => store.contains(asked)],
  ]
  for (const [bench, query] of queries) {
    const tookMs: number[] = []
    for (let i = 0; i < 11; i++) {
      const startMs = systemClock.monotonicMs()
      await query()
      tookMs.push(systemClock.monotonicMs() - startMs)
    }
    tookMs.sort((a, b) => a - b)
    report({ bench, value: round(tookMs[5] ?? 0), unit: 'ms', maxMs: round(tookMs.at(-1) ?? 0), storedRows: rows })
  }
}

/** Memory over many rows, and what retention takes and gives back. */
async function measureGrowth(
  store: DuckdbSeriesStore,
  bench: WriteBench,
  report: (figure: SeriesFigure) => void,
  rows: number,
): Promise<void> {
  const anonMb: number[] = []
  for (let half = 0; half < 2; half++) {
    await bench.run({ bench: `series-soak-half-${half + 1}`, batchRows: 5_000, rows: rows / 2, deviceNameLength: 9 })
    anonMb.push(anonymousMemoryMb())
  }
  report({ bench: 'series-soak-anonymous-memory', value: anonMb[1] ?? NaN, unit: 'MiB', atHalfMb: anonMb[0] ?? NaN, rows })
  const startMs = systemClock.monotonicMs()
  const removed = await store.retain(START_TS + (await store.count('default')) / 2)
  report({ bench: 'series-retain', value: round(systemClock.monotonicMs() - startMs), unit: 'ms', removedRows: removed })
}

/** Anonymous memory of this process, where the system tells it (Linux). */
function anonymousMemoryMb(): number {
  const path = '/proc/self/status'
  if (!existsSync(path)) return NaN
  return Math.round(Number(/RssAnon:\s+(\d+)/.exec(readFileSync(path, 'utf8'))?.[1]) / 1024)
}

/** Processor time of this thread alone, where the system tells it (Linux); NaN, printed as null, elsewhere. */
function callingThreadCpuMs(): number {
  const path = `/proc/self/task/${process.pid}/schedstat`
  return existsSync(path) ? Number(readFileSync(path, 'utf8').split(' ')[0]) / 1_000_000 : NaN
}

function round(value: number): number {
  return Number(value.toFixed(3))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await benchmarkSeries((figure) => process.stdout.write(`${JSON.stringify(figure)}\n`))
}
