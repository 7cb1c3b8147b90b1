import type { Explanation } from '../contracts/anomaly.ts'
import type { Finding } from './detector.ts'
import { plain } from './numeric-finding.ts'

/** The finding with its sentence for people. */
export function explanationOf(finding: Finding, metric: string, warmUpReadings: number): Explanation {
  const { sentence, ...rest } = finding
  return { ...rest, text: `${metric} ${sentence}; ${seenText(finding.readingsSeen, warmUpReadings)}` }
}

/** The finding of the reading that ends an anomaly. */
export function clearedExplanationOf(finding: Finding, metric: string, normalReadings: number): Explanation {
  const { sentence, ...rest } = finding
  return { ...rest, text: `${metric} has been normal for ${normalReadings} readings: ${sentence}; ${finding.readingsSeen} readings seen` }
}

/** One silence, in receive time. */
export interface SilenceFigures {
  silentForMs: number
  limitMs: number
  /** The device's longest usual gap. */
  gapMs: number
  /** The limit was learnt from the device itself, not set for its type. */
  learnt: boolean
  readings: number
  over: boolean
}

const SILENCE_VERSION = 1

/** Why a device counts as silent, or no longer: its limit, where that came from, and how long it has been. */
export function silenceExplanation(figures: SilenceFigures): Explanation {
  const { silentForMs, limitMs, gapMs, learnt } = figures
  const origin = learnt ? `learnt: its longest usual gap is ${durationText(gapMs)}` : 'set for its type'
  const text = figures.over
    ? `heard again after ${durationText(silentForMs)}`
    : `nothing received for ${durationText(silentForMs)}, more than the ${durationText(limitMs)} after which this device counts as silent (${origin})`
  const weight = figures.over ? 0 : silenceScore(figures)
  return {
    text,
    observed: silentForMs,
    expected: gapMs,
    low: 0,
    high: limitMs,
    contributions: weight > 0 ? [{ part: 'silence', weight }] : [],
    detector: 'silence',
    detectorVersion: SILENCE_VERSION,
    parameters: { limitMs, learnt },
    readingsSeen: figures.readings,
  }
}

/** How sure a silence is, [0, 1]: the share of it beyond the longest usual gap. */
export function silenceScore(figures: SilenceFigures): number {
  return figures.silentForMs <= 0 ? 0 : Math.max(0, Math.min(1, 1 - figures.gapMs / figures.silentForMs))
}

function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${plain(ms / 1_000)} s`
  if (ms < 7_200_000) return `${plain(ms / 60_000)} min`
  return ms < 172_800_000 ? `${plain(ms / 3_600_000)} h` : `${plain(ms / 86_400_000)} days`
}

/** How much was learnt; openly, while it is too little. */
export function seenText(seen: number, warmUpReadings: number): string {
  return seen < warmUpReadings ? `learning, ${seen} of ${warmUpReadings} readings` : `${seen} readings seen`
}
