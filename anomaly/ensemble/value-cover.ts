/** Values in a covering. */
export const COVER_VALUES = 128
/** Floats it needs: its values, and the width of its narrowest gap once it is full. */
export const COVER_FLOATS = COVER_VALUES + 1
const NARROWEST = COVER_VALUES

/**
 * A covering of all values a series ever had by at most `COVER_VALUES` of them, in ascending order, in `memory` from `from` on: when it is full, a value comes in
 * only where it fills a gap wider than the narrowest one, which closes. So no value is ever far from the covering unless it is new.
 */
export function placeIn(memory: Float32Array, from: number, count: number, value: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >> 1
    if (memory[from + middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

/** The member of the covering nearest to the value that would stand at `place`; NaN when it is empty. */
export function nearestAt(memory: Float32Array, from: number, count: number, place: number, value: number): number {
  if (count === 0) return Number.NaN
  if (place === 0) return memory[from]!
  if (place === count) return memory[from + count - 1]!
  const below = memory[from + place - 1]!
  const above = memory[from + place]!
  return value - below < above - value ? below : above
}

/**
 * Takes in a value that would stand at `place` (`placeIn`), `distance` from the nearest (`nearestAt`; NaN when there is none); answers how
 * many the covering has from now on.
 */
export function cover(memory: Float32Array, from: number, count: number, value: number, place: number, distance: number): number {
  if (distance === 0) return count
  if (count < COVER_VALUES) {
    for (let k = from + count; k > from + place; k--) memory[k] = memory[k - 1]!
    memory[from + place] = value
    return count + 1
  }
  if (memory[from + NARROWEST]! >= distance) return count
  const narrow = narrowest(memory, from)
  const width = memory[from + narrow]! - memory[from + narrow - 1]!
  memory[from + NARROWEST] = width
  if (width >= distance) return count
  // The upper side of the narrowest gap goes; what lies between it and the value's place moves by one.
  if (narrow < place) {
    for (let k = from + narrow; k < from + place - 1; k++) memory[k] = memory[k + 1]!
    memory[from + place - 1] = value
  } else {
    for (let k = from + narrow; k > from + place; k--) memory[k] = memory[k - 1]!
    memory[from + place] = value
  }
  return count
}

function narrowest(memory: Float32Array, from: number): number {
  let best = 1
  let width = Infinity
  for (let k = 1; k < COVER_VALUES; k++) {
    const gap = memory[from + k]! - memory[from + k - 1]!
    if (gap >= width) continue
    width = gap
    best = k
  }
  return best
}
