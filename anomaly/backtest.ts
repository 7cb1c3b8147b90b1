import { seededRandom } from '../kernel/random.ts'
import type { AnyDetector } from './detectors-by-version.ts'

/** A series of the past, with the times known to be abnormal where somebody labelled it. */
export interface LabelledPast {
  readonly name: string
  readonly tsMs: readonly number[]
  readonly values: readonly number[]
  /** From and to, epoch ms, both included; undefined = nobody labelled it. */
  readonly windows?: readonly (readonly [number, number])[]
}

/** What a detector did with one series. */
export interface Outcome {
  readonly readings: number
  /** Times its score reached the threshold from below. */
  readonly events: number
  readonly windows: number
  readonly windowsFound: number
  /** Events outside all windows; all of them where nobody labelled the series. */
  readonly falseEvents: number
}

/** A figure over all series, and the bounds within which it lies in 95 % of resamplings of the series. */
export interface Estimate {
  readonly value: number
  readonly low: number
  readonly high: number
}

export interface DetectorReport {
  readonly detector: string
  readonly readings: number
  readonly events: number
  /** Share of labelled windows in which an event began; null where there are none. */
  readonly recall: Estimate | null
  /** Share of events within a window; null where there are no windows. */
  readonly precision: Estimate | null
  readonly falseEventsPer1000: Estimate
  /** Recall and false events per 1 000 readings less those of the first detector, on the same resamplings; null for the first. */
  readonly against: { readonly recall: Estimate | null; readonly falseEventsPer1000: Estimate } | null
}

const RESAMPLES = 1_000
const BOUNDS = [0.025, 0.975] as const
const SEED = 20_251_121

/** Runs the online code over one series, as it would have run live: no reading is known before its time. */
export function replayPast(detector: AnyDetector, past: LabelledPast, threshold: number): Outcome {
  const state = detector.create()
  const windows = past.windows ?? []
  const found = new Set<number>()
  let events = 0
  let falseEvents = 0
  let above = false
  for (const [i, value] of past.values.entries()) {
    const tsMs = past.tsMs[i] ?? 0
    const reached = detector.score(state, value, tsMs) >= threshold
    detector.learn(state, value, tsMs)
    if (reached && !above) {
      const window = windows.findIndex(([from, to]) => tsMs >= from && tsMs <= to)
      events++
      if (window === -1) falseEvents++
      else found.add(window)
    }
    above = reached
  }
  return { readings: past.values.length, events, windows: windows.length, windowsFound: found.size, falseEvents }
}

/** Sets detectors side by side; the outcomes of each are in the order of the same series. Deterministic. */
export function compareDetectors(outcomes: ReadonlyMap<string, readonly Outcome[]>): DetectorReport[] {
  const series = Math.max(0, ...[...outcomes.values()].map((own) => own.length))
  const samples = resamplings(series)
  const first = [...outcomes.values()][0] ?? []
  return [...outcomes].map(([detector, own]) => ({
    detector,
    readings: sum(own, 'readings'),
    events: sum(own, 'events'),
    recall: estimate(own, samples, recallOf),
    precision: sum(own, 'windows') === 0 ? null : estimate(own, samples, precisionOf),
    falseEventsPer1000: estimate(own, samples, falseRateOf) ?? { value: 0, low: 0, high: 0 },
    against:
      own === first
        ? null
        : {
            recall: difference(own, first, samples, recallOf),
            falseEventsPer1000: difference(own, first, samples, falseRateOf) ?? { value: 0, low: 0, high: 0 },
          },
  }))
}

function recallOf(outcomes: readonly Outcome[]): number {
  return sum(outcomes, 'windowsFound') / sum(outcomes, 'windows')
}

function precisionOf(outcomes: readonly Outcome[]): number {
  const events = sum(outcomes, 'events')
  return events === 0 ? 1 : 1 - sum(outcomes, 'falseEvents') / events
}

function falseRateOf(outcomes: readonly Outcome[]): number {
  return (1_000 * sum(outcomes, 'falseEvents')) / sum(outcomes, 'readings')
}

function estimate(
  own: readonly Outcome[],
  samples: readonly number[][],
  figure: (outcomes: readonly Outcome[]) => number,
): Estimate | null {
  return bounds(
    figure(own),
    samples.map((sample) => figure(pick(own, sample))),
  )
}

function difference(
  own: readonly Outcome[],
  other: readonly Outcome[],
  samples: readonly number[][],
  figure: (outcomes: readonly Outcome[]) => number,
): Estimate | null {
  return bounds(
    figure(own) - figure(other),
    samples.map((sample) => figure(pick(own, sample)) - figure(pick(other, sample))),
  )
}

/** Null where the figure has no meaning; resamplings where it has none (no window among them) are left out. */
function bounds(value: number, resampled: readonly number[]): Estimate | null {
  if (!Number.isFinite(value)) return null
  const sorted = resampled.filter(Number.isFinite).sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? value
  return { value, low: at(BOUNDS[0]), high: at(BOUNDS[1]) }
}

function resamplings(series: number): number[][] {
  const random = seededRandom(SEED)
  return Array.from({ length: RESAMPLES }, () => Array.from({ length: series }, () => Math.floor(random.next() * series)))
}

function pick(outcomes: readonly Outcome[], sample: readonly number[]): Outcome[] {
  return sample.flatMap((place) => outcomes[place] ?? [])
}

function sum(outcomes: readonly Outcome[], key: keyof Outcome): number {
  return outcomes.reduce((total, outcome) => total + outcome[key], 0)
}
