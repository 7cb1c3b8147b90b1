import { deviation, lagCorrelation, longestRun, median, spreadOf, steps, type Point } from './statistics.ts'

/** What happened to a series within a window, in spreads of what was usual before. */
export type Shape = {
  /** Values in the baseline, and in the window. */
  usualCount: number
  count: number
  /** Median and spread of the baseline. */
  usual: number
  spread: number
  /** The value farthest from the usual, when it was, and how far it is in spreads, with its sign. */
  peak: number
  peakTs: number
  peakSpreads: number
  /** Median of the window less the usual, in the metric's unit and in spreads. */
  shift: number
  shiftSpreads: number
  /** Values beyond the asked number of spreads, and the longest run of them. */
  beyond: number
  longestBeyond: number
  /** Median of the last values of the window, of its first ones, and of the last before it, in spreads from the usual. */
  tailSpreads: number
  headSpreads: number
  approachSpreads: number
  /** Median of the window's last third less that of its first, in spreads. */
  trendSpreads: number
  /** Median step between neighbours, and standard deviation, each of the window by that of the baseline. */
  stepRatio: number
  widthRatio: number
  /** Largest step between neighbours, the one into the window among them, by the largest of the baseline. */
  jumpRatio: number
  /** Correlation of neighbours in the window. */
  smoothness: number
  /** Longest run of one value in the window and in the baseline. */
  longestSame: number
  usualLongestSame: number
}

/** Values at an end of a window that are taken together: few, so that they are of that end, and odd. */
export const END_VALUES = 9
const RATIO_MAX = 1e6

/** `near` are the values between baseline and window. Baseline and window have one value each at least. */
export function shapeOf(baseline: readonly Point[], near: readonly Point[], window: readonly Point[], beyondSpreads: number): Shape {
  const before = baseline.map(({ value }) => value)
  const values = window.map(({ value }) => value)
  const usual = median(before)
  const spread = spreadOf(before)
  const z = values.map((value) => (value - usual) / spread)
  const far = z.reduce((best, score, index) => (Math.abs(score) > Math.abs(z[best] as number) ? index : best), 0)
  const third = Math.max(1, Math.floor(z.length / 3))
  const approach = (near.length > 0 ? near : baseline).slice(-END_VALUES).map(({ value }) => value)
  const shift = median(values) - usual
  return {
    usualCount: before.length,
    count: values.length,
    usual,
    spread,
    peak: values[far] as number,
    peakTs: (window[far] as Point).ts,
    peakSpreads: z[far] as number,
    shift,
    shiftSpreads: shift / spread,
    beyond: z.filter((score) => Math.abs(score) >= beyondSpreads).length,
    longestBeyond: longestRun(z.length, (index) => Math.abs(z[index] as number) >= beyondSpreads),
    tailSpreads: median(z.slice(-END_VALUES)),
    headSpreads: median(z.slice(0, END_VALUES)),
    approachSpreads: (median(approach) - usual) / spread,
    trendSpreads: median(z.slice(-third)) - median(z.slice(0, third)),
    stepRatio: ratio(median(steps(values)), median(steps(before)), spread),
    widthRatio: ratio(deviation(values), deviation(before), spread),
    jumpRatio: ratio(Math.max(...steps([...approach.slice(-1), ...values])), Math.max(0, ...steps(before)), spread),
    smoothness: lagCorrelation(values),
    longestSame: longestRun(values.length - 1, (index) => values[index] === values[index + 1]) + 1,
    usualLongestSame: longestRun(before.length - 1, (index) => before[index] === before[index + 1]) + 1,
  }
}

const FLOOR_SPREADS = 1e-3

/** By a floor, so that what never moved before does not make it infinite. */
function ratio(now: number, before: number, spread: number): number {
  if (Number.isNaN(now)) return 1
  return Math.min(RATIO_MAX, now / Math.max(Number.isNaN(before) ? 0 : before, FLOOR_SPREADS * spread))
}
