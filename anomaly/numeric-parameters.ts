/**
 * Parameters of the numeric detector: few, the same for every series, and none of them a unit of the data.
 * Rates are per value, so that windows follow the sampling rate by themselves.
 */
export interface NumericParameters {
  /** Weight of a new value in the fast level, in the slow level, and in the running errors of the forecasters. */
  fastRate: number
  slowRate: number
  errorRate: number
  /** Weight of a new value in what counts as usual for each part, and in the long distribution. */
  usualRate: number
  longDistributionRate: number
  recentDistributionRate: number
  /** Weight of a new value in the signed mean deviation, and in the recent error that tells calm from noisy. */
  shiftRate: number
  recentErrorRate: number
  /** Values over which novelty is averaged; half of a verdict is this mean, half is the value itself. */
  noveltyMeanReadings: number
  /** Combined surprise, in standard deviations of what is usual, at which novelty is 0.5. */
  halfNoveltyAt: number
  /** Values for which the repeats of one event are kept low in the score. */
  eventReadings: number
  /** Values before the score is at full strength. */
  warmUpReadings: number
}

export const NUMERIC_DEFAULTS: Readonly<NumericParameters> = {
  fastRate: 0.2,
  slowRate: 1 / 300,
  errorRate: 1 / 800,
  usualRate: 1 / 3000,
  longDistributionRate: 1 / 4000,
  recentDistributionRate: 0.02,
  shiftRate: 0.15,
  recentErrorRate: 0.1,
  noveltyMeanReadings: 6,
  halfNoveltyAt: 4.7,
  eventReadings: 100,
  warmUpReadings: 150,
}

/** One part of the verdict: its name for people, its weight in the sum of squares, and the smallest spread it is judged by. */
export interface Part {
  readonly name: string
  readonly weight: number
  readonly spreadMin: number
}

/** In the order in which they are computed. */
export const PART_LIST: readonly Part[] = [
  { name: 'one-step error', weight: 0.6, spreadMin: 0.3 },
  { name: 'distance from level', weight: 1, spreadMin: 0.3 },
  { name: 'beyond the range', weight: 1, spreadMin: 0.5 },
  { name: 'shift of level', weight: 1, spreadMin: 0.3 },
  { name: 'change of distribution', weight: 0.7, spreadMin: 0.05 },
  { name: 'calmer or noisier', weight: 0.6, spreadMin: 0.3 },
]
/** The part of the verdict that earlier values leave behind. */
export const RECENT_PART = 'recent novelty'
