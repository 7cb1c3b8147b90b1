/**
 * How an event went on after it was raised: what its readings lay beyond their local level, oldest first.
 * Readings of it that are kept: enough to tell a spike from a step and a burst of noise from both.
 */
export const COURSE_READINGS = 24
/** Fewer readings do not tell how an event goes on. */
const TELLS_AFTER = 4
/** An event may go on so many readings ahead of or behind another of its kind. */
const SHIFT_READINGS = 4
/** Length of the difference of two courses, as a share of the longer one, up to which they are alike. */
export const DIFFERENCE_MAX = 0.5
/** The mean of what goes to and fro is at most this share of its size. */
const MEAN_MAX = 0.6
/** Fewer readings do not tell a burst from a step; within them an event shows what it is, however little novel its readings are by then. */
export const BURST_TELLS_AFTER = 5
/** A course that turns so often, and at such a share of its readings, goes to and fro. */
const TURNS_MIN = 3
const TURNS_SHARE = 0.25
/** How much larger or smaller than the usual reading of one burst that of another may be. */
const BURST_RATIO = 4

/** An event that was judged: what its readings lay beyond their local level, and the place among them at which another one is now. */
export interface Course {
  readonly whole: readonly number[]
  readonly at: number
}

/** Does an event, as far as it has come since it was raised, go like the other one went? It may go somewhat faster or slower. */
export function goesLike(course: readonly number[], { whole, at }: Course): boolean {
  const known = course.length
  if (known < TELLS_AFTER || known > COURSE_READINGS) return true
  const active = whole.slice(
    whole.findIndex((one) => one !== 0),
    whole.findLastIndex((one) => one !== 0) + 1,
  )
  if (isBurst(active)) return known > active.length || isOfBurst(course, active)
  const peak = Math.max(0, ...whole.map(Math.abs))
  for (let shift = -SHIFT_READINGS; shift <= SHIFT_READINGS; shift++) {
    const part = course.map((_, k) => whole[at + k + shift] ?? 0)
    if (difference(course, part) <= DIFFERENCE_MAX * Math.max(peak, lengthOf(course), lengthOf(part))) return true
  }
  return false
}

/** May a burst of noise that went like `whole` begin with a reading so far beyond its level? */
export function beginsBurst(first: number, whole: readonly number[]): boolean {
  const active = whole.slice(
    whole.findIndex((one) => one !== 0),
    whole.findLastIndex((one) => one !== 0) + 1,
  )
  if (!isBurst(active)) return false
  const { size } = envelope(active)
  return Math.abs(first) <= BURST_RATIO * size && Math.abs(first) >= size / BURST_RATIO
}

function isOfBurst(course: readonly number[], active: readonly number[]): boolean {
  const { mean, size } = envelope(course)
  const usual = envelope(active).size
  return (
    (course.length < BURST_TELLS_AFTER || Math.abs(mean) <= MEAN_MAX * size) && size <= BURST_RATIO * usual && size >= usual / BURST_RATIO
  )
}

export function lengthOf(course: readonly number[]): number {
  return Math.sqrt(course.reduce((sum, one) => sum + one * one, 0))
}

export function difference(a: readonly number[], b: readonly number[]): number {
  return Math.sqrt(a.reduce((sum, one, k) => sum + (one - (b[k] ?? 0)) ** 2, 0))
}

/** Does it go to and fro, as noise does? A step or a ramp turns once or twice. */
function isBurst(course: readonly number[]): boolean {
  const signs = course.filter((one) => one !== 0).map(Math.sign)
  const turns = signs.filter((sign, k) => k > 0 && sign !== signs[k - 1]).length
  return turns >= TURNS_MIN && turns >= TURNS_SHARE * signs.length
}

function envelope(course: readonly number[]): { mean: number; size: number } {
  const count = Math.max(1, course.length)
  return { mean: course.reduce((sum, one) => sum + one, 0) / count, size: lengthOf(course) / Math.sqrt(count) }
}
