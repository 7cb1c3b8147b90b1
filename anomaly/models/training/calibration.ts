import type { Network } from '../network.ts'
import { decilesOf, sharesOf } from '../observations.ts'
import { quantileOf } from '../scaling.ts'
import { jointError, metricErrors, scoreOf } from '../scoring.ts'
import { eachTold, type TrainingWindows } from './training.ts'

/** What the windows to judge by say of a network. */
export interface Calibration {
  /** What it usually tells wrong of each metric. */
  usual: number[]
  /** Joint error from which a window is abnormal. */
  threshold: number
  /** Share of those windows beyond it. */
  beyond: number
  /** Nine values between which a tenth of their scores lie each. */
  scoreDeciles: number[]
  /** Shares between them. */
  scoreShares: number[]
}

export interface CalibrationOptions {
  /** Share of normal windows that may lie beyond the threshold before its margin. */
  quantile: number
  margin: number
}

/** The threshold is chosen on readings that were not learnt, and lie later: there the errors are what they will be. */
export function calibrate(network: Network, { judge, shape }: TrainingWindows, { quantile, margin }: CalibrationOptions): Calibration {
  const { metrics } = shape
  const ones = new Float64Array(metrics).fill(1)
  const raw: Float64Array[] = []
  eachTold(network, judge, shape, (some, told, count) => {
    for (let at = 0; at < count; at++) {
      const errors = new Float64Array(metrics)
      metricErrors(some, told, at, shape, ones, errors)
      raw.push(errors)
    }
  })
  const usual = Array.from({ length: metrics }, (_, k) =>
    Math.max(USUAL_MIN, Math.sqrt(raw.reduce((sum, errors) => sum + (errors[k] ?? 0) ** 2, 0) / Math.max(1, raw.length))),
  )
  const joint = Float64Array.from(raw, (errors) => jointError(errors.map((error, k) => error / (usual[k] ?? 1)))).sort()
  const threshold = margin * quantileOf(joint, quantile)
  const scores = joint.map((error) => scoreOf(error, threshold))
  const scoreDeciles = decilesOf(scores)
  return {
    usual,
    threshold,
    beyond: joint.filter((error) => error >= threshold).length / Math.max(1, joint.length),
    scoreDeciles,
    scoreShares: sharesOf(scoreDeciles, scores),
  }
}

/** A metric that is told exactly may differ by a thousandth of a spread. */
const USUAL_MIN = 1e-3
