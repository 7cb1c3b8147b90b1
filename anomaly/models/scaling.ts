/** What is usual for one metric, and so how far a value is from it. */
export interface MetricScale {
  readonly name: string
  /** Median of its training values. */
  readonly centre: number
  /** A standard deviation, told from the middle four fifths of them. */
  readonly spread: number
}

/** Deciles stand so many standard deviations apart in a normal distribution. */
const DECILES_APART = 2.563
/** A metric that hardly moved in training is judged by this share of its size. */
const SPREAD_SHARE_MIN = 1e-3
const SPREAD_MIN = 1e-9
/** Figures end here: nothing is more abnormal than e¹⁰ spreads. */
const FIGURE_MAX = 10

/** `values`: finite, in any order, at least one. */
export function scaleOf(name: string, values: Float64Array): MetricScale {
  const sorted = values.toSorted()
  const centre = quantileOf(sorted, 0.5)
  const spread = (quantileOf(sorted, 0.9) - quantileOf(sorted, 0.1)) / DECILES_APART
  return { name, centre, spread: Math.max(SPREAD_MIN, SPREAD_SHARE_MIN * Math.abs(centre), spread) }
}

/** A value as the network sees it: distances count in full near what is usual and as their logarithm far from it. */
export function figureOf(scale: MetricScale, value: number): number {
  const figure = Math.asinh((value - scale.centre) / scale.spread)
  return figure > FIGURE_MAX ? FIGURE_MAX : figure < -FIGURE_MAX ? -FIGURE_MAX : figure
}

/** The value of a figure. */
export function valueOf(scale: MetricScale, figure: number): number {
  return scale.centre + scale.spread * Math.sinh(figure)
}

/** Of sorted values, between two neighbours where it falls there. */
export function quantileOf(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1)
  const below = Math.floor(at)
  const low = sorted[below] ?? 0
  const high = sorted[Math.min(sorted.length - 1, below + 1)] ?? low
  return low + (high - low) * (at - below)
}
