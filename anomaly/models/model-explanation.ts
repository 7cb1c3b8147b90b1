import type { Explanation } from '../../contracts/anomaly.ts'
import { plain } from '../numeric-finding.ts'
import type { Scorer } from './scorer.ts'
import { valueOf } from './scaling.ts'
import { ratioOf } from './scoring.ts'
import { shapleyOf } from './shapley.ts'

/** Name under which a model's anomalies go. */
export const MODEL_DETECTOR = 'model'
/** Orders of the sampling: some 20 ms for sixteen metrics, errors of a few hundredths. */
const ORDERS = 32
const DIGITS = 6

/** What is to be explained. */
export interface Judged {
  readonly scorer: Scorer
  readonly window: Float32Array
  readonly score: number
  readonly seed: string
  readonly rowsSeen: number
  readonly alertThreshold: number
}

/**
 * Why a model calls a window abnormal: what each metric adds to the score (Shapley, sampled, with its error), and of the foremost one what it
 * was and what the model tells it should have been. The window is in the parameters, so that the score can be told again from them.
 */
export function modelExplanation(judged: Judged): Explanation {
  const { scorer, window, score, seed, rowsSeen } = judged
  const { manifest, backgrounds } = scorer
  const { shape, metrics } = manifest
  const { shares, base } = shapleyOf(window, {
    shape,
    scores: (windows, count) => scorer.scores(windows, count),
    backgrounds,
    seed,
    orders: ORDERS,
  })
  const ranked = shares.toSorted((a, b) => b.value - a.value)
  const first = ranked[0]?.metric ?? 0
  const metric = metrics[first]!
  const place = (shape.rows - 1) * shape.metrics + first
  const told = scorer.tell(window, 1)[place] ?? 0
  const reach = manifest.threshold * metric.usual
  const observed = valueOf(metric, window[place] ?? 0)
  const expected = valueOf(metric, told)
  const times = plain(ratioOf(Math.min(score, SCORE_TOLD_MAX)))
  return {
    text: `${shape.metrics} metrics together are unlike what is normal for ${manifest.type}, ${times} times the threshold; most of all ${metric.name} at ${plain(observed)}, where the others let ${plain(expected)} expect`,
    observed,
    expected,
    low: valueOf(metric, told - reach),
    high: valueOf(metric, told + reach),
    wouldBeNormal: wouldBeNormal(judged, first) ? expected : null,
    contributions: ranked
      .filter(({ value }) => value > 0)
      .map(({ metric: k, value, error }) => ({ part: metrics[k]!.name, weight: value, error })),
    detector: MODEL_DETECTOR,
    detectorVersion: manifest.version,
    parameters: parametersOf(scorer, window, base),
    readingsSeen: rowsSeen,
  }
}

/** Beyond this a score is too near to 1 to be told in thresholds. */
const SCORE_TOLD_MAX = 1 - 1e-12

/** The end of an anomaly of a model, or of the model itself (`scorer` null). */
export function modelClearedExplanation(scorer: Scorer | null, version: number, rowsSeen: number): Explanation {
  return {
    text: scorer === null ? `version ${version} of the model no longer serves` : `all metrics together have been normal for a while`,
    ...{ observed: null, expected: null, low: null, high: null, contributions: [] },
    parameters: scorer === null ? {} : { backend: scorer.backend },
    ...{ detector: MODEL_DETECTOR, detectorVersion: version, readingsSeen: rowsSeen },
  }
}

function parametersOf({ manifest, backend }: Scorer, window: Float32Array, base: number): Explanation['parameters'] {
  return {
    model: `${manifest.type}@${manifest.version}`,
    modelSha256: manifest.sha256,
    dataset: manifest.dataset,
    backend,
    threshold: manifest.threshold,
    baseScore: base,
    metrics: manifest.metrics.map(({ name }) => name).join(','),
    window: Array.from(window, (figure) => Number(figure.toPrecision(DIGITS + 3))).join(','),
  }
}

/** Would the score be below the threshold, had the foremost metric been as the model expects it? */
function wouldBeNormal({ scorer, window, alertThreshold }: Judged, metric: number): boolean {
  const { shape } = scorer.manifest
  const told = scorer.tell(window, 1)
  const mended = window.slice()
  for (let row = 0; row < shape.rows; row++) mended[row * shape.metrics + metric] = told[row * shape.metrics + metric] ?? 0
  return (scorer.scores(mended, 1)[0] ?? 1) < alertThreshold
}
