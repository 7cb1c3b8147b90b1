import { toMemory } from '../series-state.ts'
import { plain } from '../numeric-finding.ts'
import type { Feature } from './features.ts'
import type { Sample, Member, MemberState } from './member.ts'
import { countOf, learnSpread, SPREAD_DOUBLES, spreadWith } from './running-spread.ts'
import { cover, COVER_FLOATS, nearestAt, placeIn } from './value-cover.ts'

/** Places in `core`; what the feature keeps follows. */
const ANCHOR = 0
const COVERED = 1
const SCALE = 2
const OF_FEATURE = SCALE + SPREAD_DOUBLES
/** Places in `found`: the feature's figure, how far from the anchor it is, its place in the covering and its distance from the nearest there. */
const FIGURE = 0
const RELATIVE = 1
const PLACE = 2
const DISTANCE = 3
const SPEAKS_AFTER = 20
/** The range counts as at most so many spreads, so that one wild value does not end all surprise. */
const RANGE_MAX_SPREADS = 1_000
/** Surprise is the asinh of so many times the distance. */
const GAIN = 5
/** Beyond any scale that matters. */
const RATIO_MAX = 1e12

/**
 * How far a figure is from everything it ever was: distance to the nearest earlier value, in units between the usual
 * spread and the range so far (their geometric mean), so that series that often wander far need to go further, and no finer than the
 * sensor's resolution.
 */
export class NearestValue implements Member {
  readonly name: string
  readonly doubles: number
  readonly floats = COVER_FLOATS
  readonly #feature: Feature

  constructor(feature: Feature) {
    this.name = `new ${feature.name}`
    this.doubles = OF_FEATURE + feature.doubles
    this.#feature = feature
  }

  create(): void {
    // An empty state is all zeros.
  }

  surprise(state: MemberState, sample: Readonly<Sample>): number {
    const {
      turn: { core, memory },
      at,
      from,
      found,
    } = state
    const figure = this.#feature.peek(core, at + OF_FEATURE, sample)
    found[FIGURE] = figure
    if (!Number.isFinite(figure)) return 0
    const count = core[at + COVERED]!
    const relative = Math.fround(toMemory(figure, countOf(core, at + SCALE) === 0 ? figure : core[at + ANCHOR]!))
    const place = placeIn(memory, from, count, relative)
    const distance = Math.abs(relative - nearestAt(memory, from, count, place, relative))
    found[RELATIVE] = relative
    found[PLACE] = place
    found[DISTANCE] = distance
    if (!(distance > 0) || countOf(core, at + SCALE) < SPEAKS_AFTER) return 0
    const spread = spreadWith(core, at + SCALE, figure)
    const range = Math.min(memory[from + count - 1]! - memory[from]!, RANGE_MAX_SPREADS * spread)
    const unit = (range > 0 ? Math.sqrt(range) * Math.sqrt(spread) : spread) + sample.quantum
    return Math.asinh(Math.min(RATIO_MAX, (GAIN * distance) / unit))
  }

  learn(state: MemberState, sample: Readonly<Sample>): void {
    const {
      turn: { core, memory },
      at,
      from,
      found,
    } = state
    const figure = found[FIGURE]!
    this.#feature.learn(core, at + OF_FEATURE, sample)
    if (!Number.isFinite(figure)) return
    if (countOf(core, at + SCALE) === 0) core[at + ANCHOR] = figure
    learnSpread(core, at + SCALE, figure)
    core[at + COVERED] = cover(memory, from, core[at + COVERED]!, found[RELATIVE]!, found[PLACE]!, found[DISTANCE]!)
  }

  because(state: MemberState, sample: Readonly<Sample>): string {
    const {
      turn: { core, memory },
      at,
      from,
    } = state
    const figure = this.#feature.peek(core, at + OF_FEATURE, sample)
    const relative = toMemory(figure, core[at + ANCHOR]!)
    const nearest =
      nearestAt(memory, from, core[at + COVERED]!, placeIn(memory, from, core[at + COVERED]!, relative), relative) + core[at + ANCHOR]!
    return `${this.#feature.of}, ${plain(figure)}, was never nearer to this than ${plain(nearest)}`
  }
}
