/** Rows of either mean: as many as a short mean of the level weighs. */
const CHANGE_ROWS = 10
/** Training windows beside each other; with fewer, noise would now and then look like a change (with ten once in 90 000 values). */
const WINDOWS_MIN = 10
/** A Gaussian's spread in mean absolute differences, which one jump within the training rows blows up less than their root mean square. */
const SPREAD_OF_MEAN_ABSOLUTE = Math.sqrt(Math.PI / 2)

/**
 * How fast one metric changes: the mean of its latest ten values less that of the ten before, in spreads of this same difference in the
 * training rows. Values that are not there are left out by the caller.
 */
export class LevelChange {
  readonly #latest = new Float64Array(2 * CHANGE_ROWS)
  #count = 0
  #absolutes = 0
  #absolutesCount = 0
  /** 0 until the training has ended, and where it was too short. */
  #spread = 0

  /** Takes in a value of the training rows. */
  learn(value: number): void {
    this.#take(value)
    if (this.#count < this.#latest.length) return
    this.#absolutes += Math.abs(this.#difference())
    this.#absolutesCount++
  }

  /** Ends the training; `least` > 0: spread of a metric that did not move. */
  endTraining(least: number): void {
    if (this.#count < WINDOWS_MIN * this.#latest.length) return
    this.#spread = Math.max(least, SPREAD_OF_MEAN_ABSOLUTE * (this.#absolutes / this.#absolutesCount))
  }

  /** Takes in a value after the training. */
  next(value: number): void {
    this.#take(value)
  }

  /** The latest change in spreads, ≥ 0; 0 where the training rows did not tell them. */
  spreads(): number {
    return this.#spread === 0 ? 0 : Math.abs(this.#difference()) / this.#spread
  }

  #take(value: number): void {
    this.#latest[this.#count++ % this.#latest.length] = value
  }

  /** Summed anew each time: a running sum would keep what a huge value's rounding left in it. */
  #difference(): number {
    let difference = 0
    for (let age = 0; age < this.#latest.length; age++) {
      const value = this.#latest[(this.#count - 1 - age) % this.#latest.length] ?? 0
      difference += age < CHANGE_ROWS ? value : -value
    }
    return difference / CHANGE_ROWS
  }
}
