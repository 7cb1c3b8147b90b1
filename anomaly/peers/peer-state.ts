import { InvalidInputError } from '../../kernel/errors.ts'
import type { Raised } from '../metric-track.ts'

/** Metrics of one device that are compared with those of its peers. */
export const COMPARED_MAX = 16
/** Finished slots that wait for their peers' summary. */
export const SLOTS_HELD = 12

/** Places in a metric's figures: the slot under way (Welford's sums), the finished slots, and where the device usually is among its peers. */
export const COUNT = 0
export const MEAN = 1
export const SQUARES = 2
export const LEVELS = 3
export const LIVELINESSES = LEVELS + SLOTS_HELD
export const LEVEL_USUAL = LIVELINESSES + SLOTS_HELD
/** Usual place; short mean of how far from it, on a logarithmic scale; mean and variance of that; comparisons so far. */
export const PLACE = 0
export const RECENT = 1
export const USUAL = 2
export const VARIANCE = 3
export const COMPARED = 4
/** Usual spread of the peers. */
export const WIDTH = 5
export const USUAL_LENGTH = 6
export const LIVELINESS_USUAL = LEVEL_USUAL + USUAL_LENGTH
const LENGTH = LIVELINESS_USUAL + USUAL_LENGTH

/** What is usual of a device that nobody knows yet: it is as far from its peers as they are from each other. */
export const USUAL_AT_FIRST = 0.5
const VARIANCE_AT_FIRST = 0.02
const NO_SLOT = -1

/** A device among the others of its type. */
export interface PeerState {
  readonly tenant: string
  readonly device: string
  type: string
  /** Compared metrics, in the order in which they were first seen, and their figures. */
  readonly metrics: string[]
  readonly figures: Float64Array[]
  /** Slot under way, counted from the epoch; -1 before the first. */
  slot: number
  /** Finished slots, in a ring; -1 where there is none. */
  readonly finished: number[]
  /** The newest summary that it was compared with, or that it had nothing for. */
  number: number
  /** Comparisons so far. */
  compared: number
  raised: Raised | null
  /** The metric that the anomaly under way was raised for. */
  metric: string
}

type Header = Omit<PeerState, 'figures'>

const LENGTH_BYTES = 4

export function newPeerState(tenant: string, device: string, type: string): PeerState {
  const finished = Array.from({ length: SLOTS_HELD }, () => NO_SLOT)
  return { tenant, device, type, metrics: [], figures: [], slot: NO_SLOT, finished, number: 0, compared: 0, raised: null, metric: '' }
}

export function newFigures(): Float64Array {
  const figures = new Float64Array(LENGTH)
  figures.fill(Number.NaN, LEVELS, LEVEL_USUAL)
  for (const at of [LEVEL_USUAL, LIVELINESS_USUAL]) {
    figures[at + RECENT] = figures[at + USUAL] = USUAL_AT_FIRST
    figures[at + VARIANCE] = VARIANCE_AT_FIRST
  }
  return figures
}

/** Forgets the slots, not what is usual: the device's clock was set back. */
export function forgetSlots(state: PeerState): void {
  state.slot = NO_SLOT
  state.finished.fill(NO_SLOT)
  for (const figures of state.figures) figures[COUNT] = figures[MEAN] = figures[SQUARES] = 0
}

/** Layout: length of the header (4 bytes, little-endian), the header as JSON, the metrics' figures as doubles. */
export function encodePeerState(
  { figures, ...header }: PeerState,
  into: { uint32(n: number): void; characters(text: string): void; bytes(bytes: Uint8Array): void },
): void {
  const text = JSON.stringify(header satisfies Header)
  into.uint32(Buffer.byteLength(text))
  into.characters(text)
  for (const own of figures) into.bytes(new Uint8Array(own.buffer, own.byteOffset, own.byteLength))
}

/** Throws InvalidInputError when the bytes are not such a state. */
export function decodePeerState(bytes: Uint8Array): PeerState {
  try {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const from = LENGTH_BYTES + buffer.readUInt32LE(0)
    const header = JSON.parse(buffer.subarray(LENGTH_BYTES, from).toString()) as Header
    const sizeBytes = LENGTH * Float64Array.BYTES_PER_ELEMENT
    if (buffer.length !== from + header.metrics.length * sizeBytes) throw new RangeError('figures of another length')
    const figures = header.metrics.map((_, k) => {
      const own = new Float64Array(LENGTH)
      new Uint8Array(own.buffer).set(buffer.subarray(from + k * sizeBytes, from + (k + 1) * sizeBytes))
      return own
    })
    return { ...header, figures }
  } catch (cause) {
    const remedy = 'Drop this state: the device is learnt anew.'
    throw new InvalidInputError('the bytes are not the state of a device among its peers', { cause, remedy })
  }
}
