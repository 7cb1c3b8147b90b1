import { fileURLToPath } from 'node:url'
import { NumericDetector } from '../anomaly/numeric-detector.ts'
import { STATE_BYTES } from '../anomaly/series-state.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { systemClock } from '../kernel/time.ts'

const SERIES = 1_000
const ROUNDS = 1_000
const WARM_UP_ROUNDS = 200
const VALUES = 4_096
const START_TS = 1_763_680_000_000

/**
 * Cost of the online detector on its hot path, score and learn of every sample, with a thousand series in turn so that their states
 * leave the processor's nearest caches, as in a fleet. Prints one line of JSON; on a busy machine the CPU time is the figure to go by.
 */
export function main(): void {
  const random = seededRandom(1)
  const values = Float64Array.from({ length: VALUES }, (_, i) => 20 + 5 * Math.sin(i / 40) + gaussian(random))
  const detector = new NumericDetector()
  const states = Array.from({ length: SERIES }, () => detector.create())
  let highest = 0
  const round = (n: number): void => {
    for (let series = 0; series < SERIES; series++) {
      const state = states[series]!
      const value = values[(n * 7 + series) % VALUES]!
      const tsMs = START_TS + n * 1_000
      highest = Math.max(highest, detector.score(state, value, tsMs))
      detector.learn(state, value, tsMs)
    }
  }
  for (let n = 0; n < WARM_UP_ROUNDS; n++) round(n)
  const cpuBefore = process.cpuUsage()
  const startedMs = systemClock.monotonicMs()
  for (let n = WARM_UP_ROUNDS; n < WARM_UP_ROUNDS + ROUNDS; n++) round(n)
  const elapsedMs = systemClock.monotonicMs() - startedMs
  const cpu = process.cpuUsage(cpuBefore)
  const samples = SERIES * ROUNDS
  const figures = {
    figure: 'detector, score and learn',
    samples,
    samplesPerSecond: Math.round((samples * 1_000) / elapsedMs),
    microsecondsPerSample: Number(((elapsedMs * 1_000) / samples).toFixed(3)),
    cpuMicrosecondsPerSample: Number(((cpu.user + cpu.system) / samples).toFixed(3)),
    stateBytes: STATE_BYTES,
    snapshotBytes: detector.snapshot(states[0]!).byteLength,
    highestScore: Number(highest.toFixed(3)),
  }
  process.stdout.write(`${JSON.stringify(figures)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
