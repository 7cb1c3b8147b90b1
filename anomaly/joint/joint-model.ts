import { LevelChange } from './level-change.ts'

const BLOCKS = 8
/** Fewer rows than two in each block tell nothing. */
export const TRAIN_ROWS_MIN = 2 * BLOCKS
/** Weight of a new row in the short mean of a deviation: faults last, noise does not. */
const RECENT_RATE = 0.1
/** Of the fourth powers the largest deviation decides, and two that go together count more than one. */
const POWER = 4
/** How much faster than in training a level may wander. */
const WANDER_GAIN = 10
/** Combined deviation, in spreads of the short mean, at which the score is 0.5. */
const HALF_AT = 1.3
/** Change of one metric, in spreads of its changes in training, at which the score is 0.5: noise does not get there. */
const HALF_AT_CHANGE = 5
/** Larger values count as this: its square can be calculated with. */
const VALUE_MAX = 1e100
/** Deviations end here: far beyond any scale that matters, and safe to calculate with. */
const DEVIATION_MAX = 1e6
/** A metric that did not move in training is judged by this share of its size. */
const SPREAD_SHARE_MIN = 1e-6
const TINY = 1e-290

/**
 * What is normal for several metrics together, learnt from rows known to be normal and then held: per metric its mean, its spread, and
 * how fast its level wanders, told from the means of eight blocks of the training rows. A metric that wandered in training may have
 * wandered on since: its spread grows with the time since then, so that a motor that warms up is no anomaly, and a flow that never moved
 * and now does is one. A level that may be anywhere may not jump there: how fast each metric changes is judged beside it.
 */
export class JointModel {
  readonly #trainRows: number
  readonly #blockRows: number
  readonly #metrics: MetricModel[]
  #rows = 0

  /** `trainRows` ≥ `TRAIN_ROWS_MIN`: rows that will be learnt before any is scored. */
  constructor(options: { metrics: number; trainRows: number }) {
    this.#trainRows = options.trainRows
    this.#blockRows = Math.floor(options.trainRows / BLOCKS)
    this.#metrics = Array.from({ length: options.metrics }, newMetricModel)
  }

  /**
   * Score of a row, [0, 1]: 0 for training rows, 0.5 where the combined deviation is as large as `HALF_AT` or the largest change as
   * `HALF_AT_CHANGE`. Takes the row in: rows are asked for one after the other. Values that are not finite count as not there.
   */
  next(values: readonly number[]): number {
    const row = this.#rows++
    if (row < this.#trainRows) {
      this.#learn(values, row)
      return 0
    }
    const blocksSince = (row - this.#trainRows) / this.#blockRows
    let sum = 0
    let change = 0
    for (const [k, metric] of this.#metrics.entries()) {
      const value = known(values[k])
      sum += Math.pow(deviationOf(metric, value, blocksSince), POWER)
      if (value !== undefined) metric.change.next(value)
      change = Math.max(change, metric.change.spreads())
    }
    return 1 - Math.pow(2, -Math.max(Math.pow(sum, 1 / POWER) / HALF_AT, change / HALF_AT_CHANGE))
  }

  #learn(values: readonly number[], row: number): void {
    for (const [k, metric] of this.#metrics.entries()) learnValue(metric, known(values[k]))
    if ((row + 1) % this.#blockRows === 0) for (const metric of this.#metrics) endBlock(metric)
    if (row + 1 === this.#trainRows) for (const metric of this.#metrics) endTraining(metric)
  }
}

/** A value that can be calculated with; undefined where there is none. */
function known(value: number | undefined): number | undefined {
  return value === undefined || !Number.isFinite(value) ? undefined : Math.max(-VALUE_MAX, Math.min(VALUE_MAX, value))
}

interface MetricModel {
  count: number
  mean: number
  /** Sum of squared differences from the mean, and of those from the mean of their block. */
  squares: number
  blockCount: number
  blockMean: number
  blockSquares: number
  blockMeans: number[]
  within: number
  variance: number
  wander: number
  recent: number
  readonly change: LevelChange
}

function newMetricModel(): MetricModel {
  return {
    count: 0,
    mean: 0,
    squares: 0,
    blockCount: 0,
    blockMean: 0,
    blockSquares: 0,
    blockMeans: [],
    within: 0,
    variance: 0,
    wander: 0,
    recent: 0,
    change: new LevelChange(),
  }
}

function learnValue(metric: MetricModel, value: number | undefined): void {
  if (value === undefined) return
  metric.change.learn(value)
  metric.count++
  const before = value - metric.mean
  metric.mean += before / metric.count
  metric.squares += before * (value - metric.mean)
  metric.blockCount++
  const beforeInBlock = value - metric.blockMean
  metric.blockMean += beforeInBlock / metric.blockCount
  metric.blockSquares += beforeInBlock * (value - metric.blockMean)
}

function endBlock(metric: MetricModel): void {
  if (metric.blockCount > 0) {
    metric.blockMeans.push(metric.blockMean)
    metric.within += metric.blockSquares / metric.blockCount ** 2
  }
  metric.blockCount = metric.blockMean = metric.blockSquares = 0
}

function endTraining(metric: MetricModel): void {
  const { blockMeans } = metric
  const steps = blockMeans.slice(1).map((mean, k) => (mean - (blockMeans[k] ?? 0)) ** 2)
  const meanStep = steps.length === 0 ? 0 : steps.reduce((sum, square) => sum + square, 0) / steps.length
  const least = Math.max(TINY, (SPREAD_SHARE_MIN * metric.mean) ** 2)
  metric.change.endTraining(Math.sqrt(least))
  metric.variance = Math.max(least, metric.count === 0 ? 0 : metric.squares / metric.count)
  // Two block means differ by chance by twice the variance of one.
  metric.wander = Math.max(0, meanStep - (2 * metric.within) / Math.max(1, blockMeans.length))
}

/** Short mean of the deviation, in spreads at this time. A value that is not there leaves it as it was. */
function deviationOf(metric: MetricModel, value: number | undefined, blocksSince: number): number {
  if (metric.count === 0) return 0
  const spread = Math.sqrt(metric.variance + WANDER_GAIN * metric.wander * blocksSince)
  if (value !== undefined) {
    const most = DEVIATION_MAX * spread
    const deviation = Math.max(-most, Math.min(most, value - metric.mean))
    metric.recent += RECENT_RATE * (deviation - metric.recent)
  }
  return Math.min(DEVIATION_MAX, Math.abs(metric.recent) / spread)
}
