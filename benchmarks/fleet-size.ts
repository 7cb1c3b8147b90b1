import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { complain, report, rounded } from './harness/figures.ts'

/*
 * Does a reading cost more in a large fleet? The road below the broker (event log, windows, detector, series store), the same total rate
 * from few and from many devices, in processes of their own, in turn. Options: --few 1000, --many 100000, --rate 20000, --seconds 60, --pairs 2,
 * --history 24 (readings that each of many devices said before; few say as many together, so that log and store are as full) over
 * --history-minutes 8 of event time; until then states still grow. --semi-space 128: MiB, what the launcher is told for large fleets.
 */

const BENCH = 'fleet-size'
const GROWTH_PERCENT_MAX = 10

interface Run {
  devices: number
  readings: number
  perS: number
  cpuMicrosecondsPerReading: number
  anonymousMb: number
}

const { values: options } = parseArgs({
  options: {
    few: { type: 'string', default: '1000' },
    many: { type: 'string', default: '100000' },
    rate: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '60' },
    pairs: { type: 'string', default: '2' },
    history: { type: 'string', default: '24' },
    'history-minutes': { type: 'string', default: '8' },
    'semi-space': { type: 'string', default: '128' },
  },
})
const growths: number[] = []
for (let pair = 1; pair <= Number(options.pairs); pair++) {
  const runs = new Map<string, Run>()
  for (const devices of pair % 2 === 1 ? [options.few, options.many] : [options.many, options.few]) {
    const found = await run(devices)
    runs.set(devices, found)
    const { anonymousMb, perS, readings } = found
    report({
      bench: BENCH,
      figure: 'processor time',
      value: rounded(found.cpuMicrosecondsPerReading),
      unit: 'µs per reading',
      devices: Number(devices),
      semiSpaceMb: Number(options['semi-space']),
      pair,
      readings,
      perS,
      anonymousMb,
    })
  }
  const few = runs.get(options.few)?.cpuMicrosecondsPerReading ?? NaN
  growths.push(((runs.get(options.many)?.cpuMicrosecondsPerReading ?? NaN) / few - 1) * 100)
}
const median = growths.toSorted((a, b) => a - b)[growths.length >> 1] as number
report({ bench: BENCH, figure: 'growth from few devices to many', value: rounded(median, 1), unit: '%', of: growths.length })
if (median > GROWTH_PERCENT_MAX)
  complain(`a reading costs ${rounded(median, 1)} % more with ${options.many} devices, more than ${GROWTH_PERCENT_MAX} %`)

async function run(devices: string): Promise<Run> {
  const program = fileURLToPath(new URL('./fleet-size-road.js', import.meta.url))
  const { rate, seconds, history, 'history-minutes': historyMinutes } = options
  const readings = String(Number(options.many) * Number(history))
  const args = ['--devices', devices, '--rate', rate, '--seconds', seconds, '--history', readings, '--history-minutes', historyMinutes]
  const { stdout } = await promisify(execFile)(process.execPath, [`--max-semi-space-size=${options['semi-space']}`, program, ...args])
  return JSON.parse(stdout) as Run
}
