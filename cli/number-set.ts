export interface NumberRange {
  from: number
  to: number
}

/** A set of whole numbers as ranges: memory grows with the gaps in it, not with the numbers. */
export class NumberSet {
  /** Sorted, disjoint, not adjacent. */
  readonly #ranges: NumberRange[] = []

  /** Adds a number; false when it was there. */
  add(number: number): boolean {
    const at = this.#firstEndingAtOrAfter(number - 1)
    const here = this.#ranges[at]
    if (here === undefined || here.from > number + 1) {
      this.#ranges.splice(at, 0, { from: number, to: number })
      return true
    }
    if (here.to === number - 1) {
      const next = this.#ranges[at + 1]
      // The range that ends just before is found first; the number may begin the next one.
      if (next?.from === number) return false
      here.to = next?.from === number + 1 ? next.to : number
      if (next?.from === number + 1) this.#ranges.splice(at + 1, 1)
      return true
    }
    if (here.from === number + 1) {
      here.from = number
      return true
    }
    return false
  }

  /** The parts of `range` that are in the set, in order. */
  within(range: NumberRange): NumberRange[] {
    const found: NumberRange[] = []
    for (let at = this.#firstEndingAtOrAfter(range.from); at < this.#ranges.length; at++) {
      const { from, to } = this.#ranges[at] as NumberRange
      if (from > range.to) break
      found.push({ from: Math.max(from, range.from), to: Math.min(to, range.to) })
    }
    return found
  }

  /** The parts of `range` that are not in the set, in order. */
  absentIn(range: NumberRange): NumberRange[] {
    const absent: NumberRange[] = []
    let from = range.from
    for (const present of this.within(range)) {
      if (present.from > from) absent.push({ from, to: present.from - 1 })
      from = present.to + 1
    }
    if (from <= range.to) absent.push({ from, to: range.to })
    return absent
  }

  #firstEndingAtOrAfter(number: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ranges[middle] as NumberRange).to < number) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** How many numbers the ranges hold. */
export function sizeOf(ranges: readonly NumberRange[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0)
}
