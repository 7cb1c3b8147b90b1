/** A running centre and mean absolute deviation that one wild value hardly moves; lies in `core` from `at` on. */
export const SPREAD_DOUBLES = 3
const COUNT = 0
const CENTRE = 1
const SPREAD = 2
/** Values that the figures look back on. */
const MEMORY_READINGS = 2_000
/** Values before wild ones are told from a series that is just beginning. */
const TRUST_AFTER = 20
/** A value teaches at most so many spreads. */
const TEACH_MAX = 10
/** Deviations below this share of the centre are rounding. */
const ROUNDING_SHARE = 1e-9
const TINY = 1e-290

export function countOf(core: Float64Array, at: number): number {
  return core[at + COUNT]!
}

export function centreOf(core: Float64Array, at: number): number {
  return core[at + CENTRE]!
}

/** The spread as it will be with this value in it: a series that never changed is measured by its first change. */
export function spreadWith(core: Float64Array, at: number, value: number): number {
  const count = core[at + COUNT]! + 1
  const spread = count === 1 ? 0 : core[at + SPREAD]! + (taught(core, at, value) - core[at + SPREAD]!) / Math.min(count, MEMORY_READINGS)
  return Math.max(spread, ROUNDING_SHARE * Math.abs(core[at + CENTRE]!), TINY)
}

export function learnSpread(core: Float64Array, at: number, value: number): void {
  const count = core[at + COUNT]! + 1
  if (count === 1) {
    core[at + CENTRE] = value
  } else {
    const step = 1 / Math.min(count, MEMORY_READINGS)
    const deviation = taught(core, at, value)
    core[at + CENTRE] = core[at + CENTRE]! + (value < core[at + CENTRE]! ? -deviation : deviation) * step
    core[at + SPREAD] = core[at + SPREAD]! + (deviation - core[at + SPREAD]!) * step
  }
  core[at + COUNT] = count
}

function taught(core: Float64Array, at: number, value: number): number {
  const deviation = Math.abs(value - core[at + CENTRE]!)
  const most = TEACH_MAX * core[at + SPREAD]!
  return core[at + COUNT]! < TRUST_AFTER || most === 0 || deviation < most ? deviation : most
}
