import { integerBetween, seededRandom, type Random } from '../../kernel/random.ts'
import type { NetworkShape } from './network.ts'

/** Part of one metric in a score, and the standard error of that, because it was sampled. */
export interface Share {
  readonly metric: number
  readonly value: number
  readonly error: number
}

export interface Shapley {
  /** In the order of the metrics; they add up to `score` less `base`. */
  readonly shares: Share[]
  readonly score: number
  /** Mean score where every metric is as in readings that were normal. */
  readonly base: number
}

export interface ShapleyOptions {
  shape: NetworkShape
  /** Scores of windows that stand one after the other. */
  scores: (windows: Float32Array, count: number) => Float64Array
  /** Normal windows, of which parts are put in place of the metrics that are left out. */
  backgrounds: Float32Array
  seed: string
  /** Orders drawn; each is walked forwards and backwards, which makes the error smaller. */
  orders: number
}

/**
 * Shapley values of a window's score by sampling orders (Castro et al., 2009): metrics are put in one after the other, and each is given what
 * the score rose by. Every order with its reverse is one sample, from which the standard errors come. The same seed gives the same values.
 */
export function shapleyOf(window: Float32Array, options: ShapleyOptions): Shapley {
  const { shape, backgrounds, orders } = options
  const random = seededRandom(options.seed)
  const samples = Array.from({ length: shape.metrics }, () => new Float64Array(orders))
  let base = 0
  let score = 0
  for (let sample = 0; sample < orders; sample++) {
    const background = integerBetween(random, 0, backgrounds.length / window.length - 1)
    const normal = backgrounds.subarray(background * window.length, (background + 1) * window.length)
    const order = drawn(shape.metrics, random)
    for (const walk of [order, order.toReversed()]) {
      const scores = scoresAlong(walk, window, normal, options)
      walk.forEach((metric, k) => (samples[metric]![sample]! += ((scores[k + 1] ?? 0) - (scores[k] ?? 0)) / 2))
      base += (scores[0] ?? 0) / (2 * orders)
      score = scores[shape.metrics] ?? 0
    }
  }
  return { shares: samples.map((values, metric) => ({ metric, ...meanAndError(values) })), score, base }
}

/** Scores with no metric of the window, with the first of the walk, the first two, …, all. */
function scoresAlong(walk: readonly number[], window: Float32Array, normal: Float32Array, { shape, scores }: ShapleyOptions): Float64Array {
  const mixed = new Float32Array((walk.length + 1) * window.length)
  const present = normal.slice()
  mixed.set(present)
  walk.forEach((metric, k) => {
    for (let row = 0; row < shape.rows; row++) {
      const place = row * shape.metrics + metric
      present[place] = window[place] ?? 0
    }
    mixed.set(present, (k + 1) * window.length)
  })
  return scores(mixed, walk.length + 1)
}

function drawn(length: number, random: Random): number[] {
  const order = Array.from({ length }, (_, k) => k)
  for (let k = length - 1; k > 0; k--) {
    const other = integerBetween(random, 0, k)
    ;[order[k], order[other]] = [order[other]!, order[k]!]
  }
  return order
}

function meanAndError(values: Float64Array): { value: number; error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  if (values.length < 2) return { value: mean, error: 0 }
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)
  return { value: mean, error: Math.sqrt(variance / values.length) }
}
