/** Sequence numbers received, as sorted, disjoint, non-adjacent closed ranges. Devices count upwards, so nearly every call extends the last range. */
export class SequenceRanges {
  /** from0, to0, from1, to1, … */
  #bounds: number[]
  /** Times two ranges were joined over a gap to hold the bound: that many gaps are no longer reported as missing. */
  joinedGaps: number
  readonly #rangesMax: number

  constructor(rangesMax: number, bounds: number[] = [], joinedGaps = 0) {
    this.#rangesMax = rangesMax
    this.#bounds = bounds
    this.joinedGaps = joinedGaps
  }

  get first(): number | undefined {
    return this.#bounds[0]
  }
  get last(): number | undefined {
    return this.#bounds[this.#bounds.length - 1]
  }
  bounds(): readonly number[] {
    return this.#bounds
  }

  has(seq: number): boolean {
    const at = this.#indexOf(seq)
    return at >= 0 && seq <= (this.#bounds[at + 1] as number)
  }

  /** Adds a number if it is the one after the last; nothing more or less is missing then. */
  addNext(seq: number): boolean {
    const bounds = this.#bounds
    const last = bounds.length - 1
    if (last < 0 || seq !== (bounds[last] as number) + 1) return false
    bounds[last] = seq
    return true
  }

  /** Adds a number; false when it was there. */
  add(seq: number): boolean {
    if (this.addNext(seq)) return true
    const bounds = this.#bounds
    const at = this.#indexOf(seq)
    if (at >= 0 && seq <= (bounds[at + 1] as number)) return false
    this.#insert(at, seq)
    if (bounds.length > this.#rangesMax * 2) {
      bounds.splice(1, 2)
      this.joinedGaps++
    }
    return true
  }

  /** Missing numbers between the first and the last, as closed ranges. */
  gaps(): { from: number; to: number }[] {
    const gaps = []
    for (let i = 1; i + 1 < this.#bounds.length; i += 2)
      gaps.push({ from: (this.#bounds[i] as number) + 1, to: (this.#bounds[i + 1] as number) - 1 })
    return gaps
  }

  /** How many numbers are missing between the first and the last. */
  missing(): number {
    let missing = 0
    for (let i = 1; i + 1 < this.#bounds.length; i += 2) missing += (this.#bounds[i + 1] as number) - (this.#bounds[i] as number) - 1
    return missing
  }

  #insert(at: number, seq: number): void {
    const bounds = this.#bounds
    const touchesLeft = at >= 0 && seq === (bounds[at + 1] as number) + 1
    const next = at + 2
    const touchesRight = next < bounds.length && seq === (bounds[next] as number) - 1
    if (touchesLeft && touchesRight) bounds.splice(at + 1, 2)
    else if (touchesLeft) bounds[at + 1] = seq
    else if (touchesRight) bounds[next] = seq
    else bounds.splice(next, 0, seq, seq)
  }

  /** Index of the last range that starts at or before `seq`; -2 when there is none. */
  #indexOf(seq: number): number {
    let low = 0
    let high = this.#bounds.length / 2 - 1
    let found = -1
    while (low <= high) {
      const middle = (low + high) >> 1
      if ((this.#bounds[middle * 2] as number) <= seq) {
        found = middle
        low = middle + 1
      } else high = middle - 1
    }
    return found * 2
  }
}
