import { InvalidInputError } from '../../kernel/errors.ts'
import {
  ANCHOR,
  createSeriesState,
  SEEN as FAST_SEEN,
  seriesStateIn,
  snapshotSeriesState,
  STATE_BYTES,
  toMemory,
  type SeriesState,
} from '../series-state.ts'
import { FOUND_FIGURES, type MemberState, type Turn } from './member.ts'
import type { Weighted } from './members.ts'

/**
 * What the ensemble knows of one series: one block of memory that holds the fast tier's state, then the ensemble's own figures and the
 * members' doubles (`core`), then the members' floats (`memory`).
 */
export interface EnsembleState {
  readonly fast: SeriesState
  readonly core: Float64Array
  readonly memory: Float32Array
}

/** Places in `core`; what the members keep follows. */
export const SEEN = 0
export const RECENT = 1
export const EVENT_LEFT = 2
export const EVENT_PEAK = 3
/** Event time at which the whole ensemble last judged, epoch ms. */
export const JUDGED_TS = 4
const OWN_DOUBLES = 5
/** The latest readings as they came, told from the anchor, are the last floats of all: the fast tier keeps outliers only as far as they teach it. */
export const LATEST_READINGS = 32
const DOUBLE_BYTES = 8
const FLOAT_BYTES = 4
/** Of the processors at hand; where they are longer, a line is read twice. */
const LINE_BYTES = 64

/** Where everything lies: the same for all series of one ensemble. */
export interface EnsembleLayout {
  readonly doubles: number
  readonly floats: number
  /** Bytes of one series' state; a whole number of doubles. */
  readonly bytes: number
  /** Pointed at a series' arrays before members are asked. */
  readonly turn: Turn
  /** Per member. */
  readonly members: readonly MemberState[]
}

export function layoutOf(members: readonly Weighted[]): EnsembleLayout {
  const turn = { core: new Float64Array(0), memory: new Float32Array(0), fetched: Number.NaN }
  let doubles = OWN_DOUBLES
  let floats = 0
  const places = members.map(({ member }) => {
    const place = { turn, at: doubles, from: floats, found: new Float64Array(FOUND_FIGURES) }
    doubles += member.doubles
    floats += member.floats
    return place
  })
  floats += floats % (DOUBLE_BYTES / FLOAT_BYTES)
  floats += LATEST_READINGS
  return { doubles, floats, bytes: STATE_BYTES + doubles * DOUBLE_BYTES + floats * FLOAT_BYTES, turn, members: places }
}

/**
 * Points the layout's members at a series, and reads one figure of every cache line of its state. In a large fleet none of them is in the
 * processor's cache: asked for by independent reads they come side by side, asked for by the searches to come they would come in turn.
 */
export function pointAt({ turn }: EnsembleLayout, { fast, core, memory }: EnsembleState): void {
  if (turn.core === core) return
  turn.core = core
  turn.memory = memory
  let sum = 0
  for (let k = 0; k < fast.core.length; k += LINE_BYTES / DOUBLE_BYTES) sum += fast.core[k]!
  for (let k = 0; k < fast.memory.length; k += LINE_BYTES / FLOAT_BYTES) sum += fast.memory[k]!
  for (let k = 0; k < core.length; k += LINE_BYTES / DOUBLE_BYTES) sum += core[k]!
  for (let k = 0; k < memory.length; k += LINE_BYTES / FLOAT_BYTES) sum += memory[k]!
  turn.fetched = sum
}

export function createEnsembleState(layout: EnsembleLayout, members: readonly Weighted[], quantum: number): EnsembleState {
  const buffer = new ArrayBuffer(layout.bytes)
  new Uint8Array(buffer).set(snapshotSeriesState(createSeriesState(quantum)))
  const state = viewsOf(buffer, layout)
  pointAt(layout, state)
  members.forEach(({ member }, k) => member.create(layout.members[k]!))
  return state
}

/** The state's own memory. */
export function snapshotEnsembleState(layout: EnsembleLayout, state: EnsembleState): Uint8Array {
  return new Uint8Array(state.core.buffer, 0, layout.bytes)
}

/**
 * A snapshot of this ensemble as it was; of another one, or of the fast tier alone, what the fast tier knew, and members that begin anew.
 * Throws InvalidInputError when it is too short for either.
 */
export function restoreEnsembleState(layout: EnsembleLayout, members: readonly Weighted[], bytes: Uint8Array): EnsembleState {
  if (bytes.byteLength < STATE_BYTES) {
    throw new InvalidInputError(`an ensemble's state has at least ${STATE_BYTES} bytes, this one has ${bytes.byteLength}`, {
      remedy: 'Let the series be learnt anew: drop this snapshot.',
    })
  }
  // Before the latest readings were kept.
  const older = bytes.byteLength === layout.bytes - LATEST_READINGS * FLOAT_BYTES
  const whole = older || bytes.byteLength === layout.bytes
  const state = whole ? viewsOf(new ArrayBuffer(layout.bytes), layout) : createEnsembleState(layout, members, 0)
  new Uint8Array(state.core.buffer).set(whole ? bytes : bytes.subarray(0, STATE_BYTES))
  return state
}

/** Keeps a value for `latestAgo`; before it is learnt. */
export function rememberLatest({ fast, memory }: EnsembleState, value: number): void {
  if (!Number.isFinite(value)) return
  const seen = fast.core[FAST_SEEN]!
  memory[memory.length - LATEST_READINGS + (seen & (LATEST_READINGS - 1))] = toMemory(value, seen === 0 ? value : fast.core[ANCHOR]!)
}

/** The value `ago` learnt readings ago, 1 being the latest, at most `LATEST_READINGS`. */
export function latestAgo({ fast, memory }: EnsembleState, ago: number): number {
  const place = (fast.core[FAST_SEEN]! - ago) & (LATEST_READINGS - 1)
  return memory[memory.length - LATEST_READINGS + place]! + fast.core[ANCHOR]!
}

function viewsOf(buffer: ArrayBuffer, layout: EnsembleLayout): EnsembleState {
  const memoryAt = STATE_BYTES + layout.doubles * DOUBLE_BYTES
  return {
    fast: seriesStateIn(buffer),
    core: new Float64Array(buffer, STATE_BYTES, layout.doubles),
    memory: new Float32Array(buffer, memoryAt, layout.floats),
  }
}
