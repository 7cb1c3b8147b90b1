import { InvalidInputError } from '../kernel/errors.ts'

/**
 * What is known of one numeric series, packed: 40 doubles of running figures and 341 floats of memory in one buffer of 1 688 bytes.
 * Memory is kept relative to `ANCHOR`, so that single precision is enough for counters and other values far from zero.
 */
export interface SeriesState {
  readonly core: Float64Array
  readonly memory: Float32Array
}

export const FORECASTERS = 6
export const PARTS = 6

/** Places in `core`. */
export const SEEN = 0
export const FIRST_TS = 1
export const LAST_TS = 2
export const INTERVAL_MS = 3
export const ANCHOR = 4
export const LAST = 5
export const FAST = 6
export const SLOW = 7
/** Smallest change between two values so far, 0 while there was none: the resolution of the sensor. */
export const QUANTUM = 8
export const HIGHEST = 9
export const LOWEST = 10
export const SPREAD = 11
export const SHIFT = 12
export const RECENT_ERROR = 13
export const RECENT_NOVELTY = 14
export const NOVELTY_MEAN = 15
export const NOVELTY_VARIANCE = 16
/** Values in a row that lay beyond what one value may teach; a long run is a new level and is let in. */
export const BEYOND_RUN = 17
export const LAG = 18
export const EVENT_LEFT = 19
export const EVENT_PEAK = 20
/** `FORECASTERS` running absolute errors, `PARTS` running means, `PARTS` running variances. */
export const ERRORS = 21
export const PART_MEANS = ERRORS + FORECASTERS
export const PART_VARIANCES = PART_MEANS + PARTS
const CORE_LENGTH = 40

/** Places in `memory`. */
export const LAGS = 64
export const DAY_BINS = 96
export const WEEK_BINS = 84
export const HISTOGRAM_BINS = 17
export const RING = 0
export const LAG_ERRORS = RING + LAGS
export const DAY = LAG_ERRORS + LAGS
export const WEEK = DAY + DAY_BINS
export const RECENT_HISTOGRAM = WEEK + WEEK_BINS
export const LONG_HISTOGRAM = RECENT_HISTOGRAM + HISTOGRAM_BINS
const MEMORY_LENGTH = LONG_HISTOGRAM + HISTOGRAM_BINS

/** Bytes of one series' state; a whole number of doubles. */
export const STATE_BYTES = CORE_LENGTH * 8 + Math.ceil(MEMORY_LENGTH / 2) * 8

/** Largest magnitude kept in single precision. */
const FLOAT_MAX = 3e38

/** An empty series. `quantum` is the resolution where it is known beforehand, else 0. */
export function createSeriesState(quantum: number): SeriesState {
  const state = seriesStateIn(new ArrayBuffer(STATE_BYTES))
  state.core[QUANTUM] = quantum
  state.memory.fill(1, LAG_ERRORS, LAG_ERRORS + LAGS)
  state.memory.fill(Number.NaN, DAY, WEEK + WEEK_BINS)
  state.memory.fill(1 / HISTOGRAM_BINS, RECENT_HISTOGRAM, LONG_HISTOGRAM + HISTOGRAM_BINS)
  return state
}

/** The state's own memory. */
export function snapshotSeriesState(state: SeriesState): Uint8Array {
  return new Uint8Array(state.core.buffer, state.core.byteOffset, STATE_BYTES)
}

/** Throws InvalidInputError when the length is not that of a series state. */
export function restoreSeriesState(bytes: Uint8Array): SeriesState {
  if (bytes.byteLength !== STATE_BYTES) {
    throw new InvalidInputError(`a series state has ${STATE_BYTES} bytes, this one has ${bytes.byteLength}`, {
      remedy: 'Let the series be learnt anew: drop this snapshot.',
    })
  }
  const buffer = new ArrayBuffer(STATE_BYTES)
  new Uint8Array(buffer).set(bytes)
  return seriesStateIn(buffer)
}

/** A value as kept in memory: relative to the anchor and within single precision. */
export function toMemory(value: number, anchor: number): number {
  const relative = value - anchor
  return relative > FLOAT_MAX ? FLOAT_MAX : relative < -FLOAT_MAX ? -FLOAT_MAX : relative
}

/** The state that lies at the beginning of `buffer`, which it shares. */
export function seriesStateIn(buffer: ArrayBuffer): SeriesState {
  return { core: new Float64Array(buffer, 0, CORE_LENGTH), memory: new Float32Array(buffer, CORE_LENGTH * 8, MEMORY_LENGTH) }
}
