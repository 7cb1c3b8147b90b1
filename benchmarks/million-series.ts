import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { complain, report } from './harness/figures.ts'

/*
 * A million series, far more than `processing.devicesInMemoryMax` holds: the road below the broker, each device in turn, so that every
 * reading meets a state that was saved and dropped. Memory must stay what the states in memory need; the rate is what spilling leaves.
 * Options: --devices 500000, --metrics 2, --rate 4000, --seconds 60, --memory 200000 (devices in memory), --max-mb 4096.
 */

const BENCH = 'million-series'

const { values: options } = parseArgs({
  options: {
    devices: { type: 'string', default: '500000' },
    metrics: { type: 'string', default: '2' },
    rate: { type: 'string', default: '4000' },
    seconds: { type: 'string', default: '60' },
    memory: { type: 'string', default: '200000' },
    'max-mb': { type: 'string', default: '4096' },
  },
})
const program = fileURLToPath(new URL('./fleet-size-road.js', import.meta.url))
const { devices, metrics, rate, seconds } = options
const args = ['--devices', devices, '--metrics', metrics, '--rate', rate, '--seconds', seconds]
const env = { ...process.env, FLEETPULSE_PROCESSING_DEVICES_IN_MEMORY_MAX: options.memory }
const { stdout } = await promisify(execFile)(process.execPath, ['--max-semi-space-size=32', program, ...args], { env })
const found = JSON.parse(stdout) as { readings: number; perS: number; cpuMicrosecondsPerReading: number; anonymousMaxMb: number }
const common = { bench: BENCH, devices: Number(devices), series: Number(devices) * Number(metrics), inMemory: Number(options.memory) }
report({ ...common, figure: 'readings stored', value: found.perS, unit: 'per s', readings: found.readings })
report({ ...common, figure: 'processor time', value: Math.round(found.cpuMicrosecondsPerReading), unit: 'µs per reading' })
report({ ...common, figure: 'most anonymous memory', value: found.anonymousMaxMb, unit: 'MB' })
if (found.anonymousMaxMb > Number(options['max-mb'])) complain(`${found.anonymousMaxMb} MB, more than ${options['max-mb']}`)
