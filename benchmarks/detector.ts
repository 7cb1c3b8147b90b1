import { fileURLToPath } from 'node:url'
import type { Detector } from '../anomaly/detector.ts'
import { EnsembleDetector } from '../anomaly/ensemble/ensemble-detector.ts'
import { NumericDetector } from '../anomaly/numeric-detector.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { systemClock } from '../kernel/time.ts'
import { complain } from './harness/figures.ts'

const SERIES = 1_000
const ROUNDS = 1_000
const WARM_UP_ROUNDS = 200
const VALUES = 4_096
const START_TS = 1_763_680_000_000
const LATENCY_SAMPLES = 100_000
const P99_MAX_MS = 0.2

/**
 * Cost of both tiers, score and learn of every sample, with a thousand series in turn so that their states leave the processor's nearest
 * caches, as in a fleet. Prints one line of JSON each; on a busy machine the CPU time is the figure to go by.
 */
export function main(): void {
  measure('fast tier, score and learn', new NumericDetector())
  measure('whole ensemble, score and learn', new EnsembleDetector())
}

function measure<S>(figure: string, detector: Detector<S, number>): void {
  const random = seededRandom(1)
  const values = Float64Array.from({ length: VALUES }, (_, i) => 20 + 5 * Math.sin(i / 40) + gaussian(random))
  const states = Array.from({ length: SERIES }, () => detector.create())
  let highest = 0
  const sample = (n: number, series: number): void => {
    const state = states[series]!
    const value = values[(n * 7 + series) % VALUES]!
    const tsMs = START_TS + n * 1_000
    highest = Math.max(highest, detector.score(state, value, tsMs))
    detector.learn(state, value, tsMs)
  }
  const rounds = (from: number, to: number): void => {
    for (let n = from; n < to; n++) for (let series = 0; series < SERIES; series++) sample(n, series)
  }
  rounds(0, WARM_UP_ROUNDS)
  const cpuBefore = process.cpuUsage()
  const startedMs = systemClock.monotonicMs()
  rounds(WARM_UP_ROUNDS, WARM_UP_ROUNDS + ROUNDS)
  const elapsedMs = systemClock.monotonicMs() - startedMs
  const cpu = process.cpuUsage(cpuBefore)
  const samples = SERIES * ROUNDS
  const figures = {
    figure,
    samples,
    samplesPerSecond: Math.round((samples * 1_000) / elapsedMs),
    microsecondsPerSample: Number(((elapsedMs * 1_000) / samples).toFixed(3)),
    cpuMicrosecondsPerSample: Number(((cpu.user + cpu.system) / samples).toFixed(3)),
    ...latencyOf((n) => sample(WARM_UP_ROUNDS + ROUNDS + Math.floor(n / SERIES), n % SERIES)),
    stateBytes: detector.snapshot(states[0]!).byteLength,
    highestScore: Number(highest.toFixed(3)),
  }
  process.stdout.write(`${JSON.stringify(figures)}\n`)
}

/** Of single samples, each timed by itself: what one series waits for its score, pauses of the collector included. */
function latencyOf(sample: (n: number) => void): Record<string, number> {
  const tookMs = new Float64Array(LATENCY_SAMPLES)
  for (let n = 0; n < LATENCY_SAMPLES; n++) {
    const beganMs = systemClock.monotonicMs()
    sample(n)
    tookMs[n] = systemClock.monotonicMs() - beganMs
  }
  tookMs.sort()
  const at = (share: number): number => Number(tookMs[Math.min(LATENCY_SAMPLES - 1, Math.floor(share * LATENCY_SAMPLES))]!.toFixed(4))
  if (at(0.99) > P99_MAX_MS) complain(`p99 of one sample is ${at(0.99)} ms, more than ${P99_MAX_MS} ms`)
  return { p50Milliseconds: at(0.5), p99Milliseconds: at(0.99), p999Milliseconds: at(0.999), maxMilliseconds: at(1) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
