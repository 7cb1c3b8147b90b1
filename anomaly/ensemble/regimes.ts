import type { Member, MemberState, Sample } from './member.ts'
import { centreOf, countOf, learnSpread, SPREAD_DOUBLES, spreadWith } from './running-spread.ts'

/** Places in `core`. */
const SCALE = 0
const USUAL_MEAN = SCALE + SPREAD_DOUBLES
const USUAL_VARIANCE = USUAL_MEAN + 1
const STORED = USUAL_MEAN + 2
const DOUBLES = STORED + 1

const WINDOW = 52
const BINS = 8
/** Bins per unit of the asinh of a deviation in spreads. */
const BINS_PER_UNIT = 1.5
const REGIMES_MAX = 16
/** Places in `memory`: the bins of the last values, how often each bin is among them, and per regime its shares, windows seen and last use. */
const RECENT = 0
const COUNTS = WINDOW
const REGIMES = COUNTS + BINS
const SEEN_WINDOWS = BINS
const LAST_USED = BINS + 1
const REGIME_FLOATS = BINS + 2
const FLOATS = REGIMES + REGIMES_MAX * REGIME_FLOATS

/** Places in `found`: the value's bin, and nats from the nearest regime with it. */
const BIN = 0
const NATS = 1

/** Nats from which a window is of a regime of its own. */
const OWN_REGIME_AT = 0.4
/** A regime looks back on so many windows. */
const REGIME_WINDOWS = 20
/** No bin is impossible. */
const SHARE_MIN = 0.02
const SPEAKS_AFTER = WINDOW + 20
/** Surprise is the asinh of the spreads above its usual. */
const USUAL_RATE = 1 / 3_000
const USUAL_MAX = 4
const SPREAD_MIN = 0.2
const VARIANCE_MIN = 1e-6

/**
 * Relative entropy of the last values' distribution to the nearest of up to sixteen distributions this series had before: how much the
 * kind of values changed, where returning to an earlier kind is no change.
 */
export class Regimes implements Member {
  readonly name = 'new distribution'
  readonly doubles = DOUBLES
  readonly floats = FLOATS

  create({ turn, at }: MemberState): void {
    turn.core[at + USUAL_VARIANCE] = 1
  }

  surprise(state: MemberState, { value }: Readonly<Sample>): number {
    const {
      turn: { core },
      at,
      found,
    } = state
    const bin = binOf(core, at, value)
    found[BIN] = bin
    if (countOf(core, at + SCALE) < SPEAKS_AFTER) return 0
    const nats = nearestRegime(state, bin)
    found[NATS] = nats
    const spread = Math.max(Math.sqrt(core[at + USUAL_VARIANCE]!), SPREAD_MIN)
    const excess = (nats - core[at + USUAL_MEAN]!) / spread
    return excess > 0 ? Math.asinh(excess) : 0
  }

  learn(state: MemberState, { value }: Readonly<Sample>): void {
    const {
      turn: { core, memory },
      at,
      from,
      found,
    } = state
    const count = countOf(core, at + SCALE)
    if (count >= SPEAKS_AFTER) learnUsual(core, at, found[NATS]!, count)
    const bin = found[BIN]!
    const place = from + RECENT + (count % WINDOW)
    const counts = from + COUNTS
    if (count >= WINDOW) memory[counts + memory[place]!] = memory[counts + memory[place]!]! - 1
    memory[place] = bin
    memory[counts + bin] = memory[counts + bin]! + 1
    learnSpread(core, at + SCALE, value)
    if ((count + 1) % WINDOW === 0 && count >= WINDOW) learnRegime(state, count)
  }

  because(): string {
    return `the last ${WINDOW} readings are spread in a way not seen before`
  }
}

/** Nats from the nearest regime, with a value of this bin in place of the oldest. */
function nearestRegime(state: MemberState, came: number): number {
  const {
    turn: { core, memory },
    at,
    from,
  } = state
  const went = memory[from + RECENT + (countOf(core, at + SCALE) % WINDOW)]!
  let best = Infinity
  for (let k = 0; k < core[at + STORED]!; k++) best = Math.min(best, divergence(memory, from, k, came, went))
  return best === Infinity ? 0 : Math.max(0, best)
}

/** Takes the window into the regime it is of, or makes it one of its own in the place of the one longest unused. */
function learnRegime(state: MemberState, count: number): void {
  const {
    turn: { core, memory },
    at,
    from,
  } = state
  const stored = core[at + STORED]!
  let best = Infinity
  let regime = -1
  for (let k = 0; k < stored; k++) {
    const nats = divergence(memory, from, k, -1, -1)
    if (nats < best) {
      best = nats
      regime = k
    }
  }
  const fresh = regime === -1 || best > OWN_REGIME_AT
  if (fresh) regime = stored < REGIMES_MAX ? stored : oldest(memory, from)
  if (regime === stored) core[at + STORED] = stored + 1
  const base = from + REGIMES + regime * REGIME_FLOATS
  const windows = fresh ? 1 : Math.min(REGIME_WINDOWS, memory[base + SEEN_WINDOWS]! + 1)
  memory[base + SEEN_WINDOWS] = windows
  memory[base + LAST_USED] = count / WINDOW
  for (let bin = 0; bin < BINS; bin++) {
    const share = memory[from + COUNTS + bin]! / WINDOW
    memory[base + bin] = fresh ? share : memory[base + bin]! + (share - memory[base + bin]!) / windows
  }
}

function divergence(memory: Float32Array, from: number, regime: number, came: number, went: number): number {
  const base = from + REGIMES + regime * REGIME_FLOATS
  let nats = 0
  for (let bin = 0; bin < BINS; bin++) {
    const share = (memory[from + COUNTS + bin]! + (bin === came ? 1 : 0) - (bin === went ? 1 : 0)) / WINDOW
    if (share > 0) nats += share * Math.log((share * (1 + SHARE_MIN * BINS)) / (memory[base + bin]! + SHARE_MIN))
  }
  return nats
}

function oldest(memory: Float32Array, from: number): number {
  const usedAt = from + REGIMES + LAST_USED
  let regime = 0
  for (let k = 1; k < REGIMES_MAX; k++) {
    if (memory[usedAt + k * REGIME_FLOATS]! < memory[usedAt + regime * REGIME_FLOATS]!) regime = k
  }
  return regime
}

function binOf(core: Float64Array, at: number, value: number): number {
  const deviation = (value - centreOf(core, at + SCALE)) / spreadWith(core, at + SCALE, value)
  const bin = Math.floor(BINS / 2 + BINS_PER_UNIT * Math.asinh(deviation))
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin
}

function learnUsual(core: Float64Array, at: number, nats: number, count: number): void {
  const mean = core[at + USUAL_MEAN]!
  const variance = core[at + USUAL_VARIANCE]!
  const rate = Math.max(1 / (count + 1), USUAL_RATE)
  const difference = Math.min(nats, mean + USUAL_MAX * Math.max(Math.sqrt(variance), SPREAD_MIN)) - mean
  core[at + USUAL_MEAN] = mean + rate * difference
  core[at + USUAL_VARIANCE] = Math.max(VARIANCE_MIN, (1 - rate) * (variance + rate * difference * difference))
}
