import { parseArgs } from 'node:util'
import { systemClock } from '../kernel/time.ts'
import { BenchPlatform, deviceNames } from './harness/bench-platform.ts'
import { drained } from './harness/drained.ts'
import { complain, report, rounded } from './harness/figures.ts'
import { cpuSeconds, MemorySamples } from './harness/process-usage.ts'
import { runLoad } from './harness/run-load.ts'

/*
 * Durable ingest with all stages on, as fast as it is acknowledged: 50 devices over mTLS, QoS 1, two metrics a message, from a process of
 * its own on the same machine. Options: --seconds 60, --devices 50, --inflight 20 (per device).
 */

const BENCH = 'ingest'
const MEMORY_GROWTH_PERCENT_MAX = 10
/** A shorter run is still filling its caches in its second half: its growth is reported and not judged. */
const MEMORY_JUDGED_FROM_S = 60
const METRIC = 'temperature'

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    devices: { type: 'string', default: '50' },
    inflight: { type: 'string', default: '20' },
  },
})
const devices = deviceNames(Number(options.devices))
const platform = new BenchPlatform()
// Timers of the clock do not keep a process alive by themselves.
const alive = setInterval(() => undefined, 1_000)
try {
  await platform.start()
  await platform.enrol(devices)
  const { pid } = platform
  const memory = new MemorySamples(pid)
  const cpuBeforeS = cpuSeconds(pid)
  memory.start()
  const startTs = systemClock.nowMs()
  const load = await runLoad({
    port: platform.port,
    certs: platform.certs,
    connections: devices.length,
    inflight: options.inflight,
    seconds: options.seconds,
    'start-ts': startTs,
  })
  const { sums, atMs } = await drained(platform, load.acked)
  memory.stop()
  const cpuS = cpuSeconds(pid) - cpuBeforeS
  const setting = { seconds: load.seconds, connections: devices.length, inflight: Number(options.inflight) * devices.length }
  const throughSeconds = (atMs - load.firstPublishAtMs) / 1_000
  report({ bench: BENCH, figure: 'acknowledged', value: load.ackedPerS, unit: 'messages/s', messages: load.acked, ...setting })
  report({ bench: BENCH, figure: 'end to end', value: Math.round(load.acked / throughSeconds), unit: 'messages/s', ledger: sums })
  report({ bench: BENCH, figure: 'publish to PUBACK, p50', value: load.pubackMs.p50, unit: 'ms' })
  report({ bench: BENCH, figure: 'publish to PUBACK, p99', value: load.pubackMs.p99, unit: 'ms', max: load.pubackMs.max })
  report({ bench: BENCH, figure: 'processor time of the platform', value: rounded((cpuS * 1e6) / load.acked), unit: 'CPU-s per million' })
  report({
    bench: BENCH,
    figure: 'processor time of the generator',
    value: rounded((load.cpuS * 1e6) / load.acked),
    unit: 'CPU-s per million',
  })
  const growth = rounded(memory.secondHalfGrowthPercent, 1)
  report({ bench: BENCH, figure: 'anonymous memory, growth in the second half', value: growth, unit: '%', everySecondMb: memory.samplesMb })
  const rows = await platform.storedRows(devices, METRIC, startTs)
  report({ bench: BENCH, figure: 'rows in the store', value: rows, unit: 'rows' })
  if (rows !== load.acked) complain(`${rows} rows are in the store, ${load.acked} readings were acknowledged`)
  if (sums.rejected + sums.duplicate + sums.missing > 0) complain(`rejected, duplicate and missing must be 0: ${JSON.stringify(sums)}`)
  if (Number(options.seconds) >= MEMORY_JUDGED_FROM_S && growth > MEMORY_GROWTH_PERCENT_MAX)
    complain(`memory grew by ${growth} % in the second half`)
} finally {
  clearInterval(alive)
  await platform.remove()
}
