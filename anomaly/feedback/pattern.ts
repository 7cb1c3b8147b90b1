import type { Pattern } from '../../contracts/feedback.ts'
import type { MetricValue } from '../../contracts/reading.ts'
import type { Finding } from '../detector.ts'
import { latestAgo } from '../ensemble/ensemble-state.ts'
import type { MetricTrack } from '../metric-track.ts'
import { SEEN } from '../series-state.ts'
import { beginsBurst, COURSE_READINGS, difference, DIFFERENCE_MAX, lengthOf, type Course } from './course.ts'
import { beyond, usualReach } from './local-level.ts'

/** Readings in a shape, the judged one among them: long enough for a ramp, short enough to be over before the next event. */
const SHAPE_READINGS = 16
/** One anomaly may be noticed so many readings earlier or later in its course than another of its kind. */
const EARLIER_READINGS = 8
const LATER_READINGS = COURSE_READINGS
/** How alike the shares of two scores must be where they have no shape: the cosine of their square roots. */
const SHARES_LIKE_MIN = 0.85
/** Parts that say how readings are spread in value or time: their anomalies have no shape of their own that comes again. */
const SHAPELESS_PARTS: ReadonlySet<string> = new Set([
  'new distribution',
  'stuck value',
  'sampling rate',
  'change of distribution',
  'calmer or noisier',
])

/** What the value that is being judged looks like, before it is learnt; `finding` is of it. */
export function patternOf(track: MetricTrack, value: MetricValue, finding: Finding, score: number): Pattern {
  const shares = sharesOf(finding)
  if (track.kind === 'string') return { shape: [], shares, words: [track.state.last ?? '', String(value)], score }
  const { state } = track
  const reach = usualReach(state)
  const known = Math.min(SHAPE_READINGS - 1, state.fast.core[SEEN]!)
  const earlier = Array.from({ length: known }, (_, k) => beyond(state, latestAgo(state, known - k), known - k, reach))
  const shape = [...earlier, beyond(state, Number(value), 0, reach)]
  return { shape: [...Array.from({ length: SHAPE_READINGS - shape.length }, () => 0), ...shape], shares, score }
}

/** What is known of an earlier anomaly. */
export interface Judged {
  readonly pattern: Pattern
  /** How its event went on; null where that is not known. */
  readonly course: readonly number[] | null
}

/**
 * Is an anomaly that begins like `now` the like of an earlier one? If so, how it ought to go on: null where that is not known, or does not
 * tell. One may be noticed earlier in its course than the other.
 */
export function likeOf({ pattern, course }: Judged, now: Pattern): { course: Course | null } | undefined {
  if (pattern.words !== undefined || now.words !== undefined) {
    return JSON.stringify(pattern.words) === JSON.stringify(now.words) ? { course: null } : undefined
  }
  const [was, is] = [lengthOf(pattern.shape), lengthOf(now.shape)]
  if (was === 0 && is === 0) return sharesAlike(pattern, now) ? { course: null } : undefined
  const whole = [...pattern.shape, ...(course ?? [])]
  const end = bestEnd(whole, pattern.shape.length, now.shape)
  if (end !== undefined) return { course: course === null ? null : { whole, at: end } }
  const first = now.shape.reduce((most, one) => (Math.abs(one) > Math.abs(most) ? one : most), 0)
  if (course !== null && beginsBurst(first, whole)) return { course: { whole, at: pattern.shape.length } }
  return SHAPELESS_PARTS.has(largestOf(pattern)) && largestOf(pattern) === largestOf(now) && sharesAlike(pattern, now)
    ? { course: null }
    : undefined
}

/** Where in the course of the earlier one the later one's shape ends, if it is like any part of it that ends near where it was raised. */
function bestEnd(whole: readonly number[], raisedAt: number, shape: readonly number[]): number | undefined {
  let best: number | undefined
  let least = Infinity
  for (let end = Math.max(1, raisedAt - EARLIER_READINGS); end <= Math.min(whole.length, raisedAt + LATER_READINGS); end++) {
    const before = whole.slice(Math.max(0, end - shape.length), end)
    const part = [...Array.from({ length: shape.length - before.length }, () => 0), ...before]
    const apart = difference(part, shape) / Math.max(lengthOf(part), lengthOf(shape))
    if (apart > DIFFERENCE_MAX || apart >= least) continue
    best = end
    least = apart
  }
  return best
}

function sharesOf(finding: Finding): Record<string, number> {
  const sum = finding.contributions.reduce((total, { weight }) => total + weight, 0)
  return Object.fromEntries(finding.contributions.map(({ part, weight }) => [part, sum === 0 ? 0 : weight / sum]))
}

function sharesAlike(a: Pattern, b: Pattern): boolean {
  const cosine = Object.entries(a.shares).reduce((sum, [part, share]) => sum + Math.sqrt(share * (b.shares[part] ?? 0)), 0)
  return cosine >= SHARES_LIKE_MIN
}

function largestOf({ shares }: Pattern): string {
  return Object.entries(shares).reduce((most, entry) => (entry[1] > most[1] ? entry : most), ['', 0])[0]
}
