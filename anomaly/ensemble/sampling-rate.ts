import { plain } from '../numeric-finding.ts'
import type { Member, MemberState, Sample } from './member.ts'
import { countOf, learnSpread, SPREAD_DOUBLES, spreadWith } from './running-spread.ts'

/** Places in `core`: when the last reading was, the mean log gap of the latest and of those before, the running spread of log gaps. */
const LAST_TS = 0
const RECENT = 1
const USUAL = 2
const SCALE = 3
const SPEAKS_AFTER = 50
const RECENT_RATE = 0.1
/** A new rate is the usual one after some fifty readings. */
const USUAL_RATE = 0.02
/** Gaps vary by this share of their size without meaning anything. */
const SPREAD_MIN = 0.1

/** Readings that come at another rate than usual, or after a gap: how many spreads the mean log gap moved, asinh. Unordered timestamps count as no gap. */
export class SamplingRate implements Member {
  readonly name = 'sampling rate'
  readonly doubles = SCALE + SPREAD_DOUBLES
  readonly floats = 0

  create(): void {
    // An empty state is all zeros.
  }

  surprise(state: MemberState, { tsMs }: Readonly<Sample>): number {
    const {
      turn: { core },
      at,
    } = state
    const gap = logGap(core[at + LAST_TS]!, tsMs)
    if (countOf(core, at + SCALE) < SPEAKS_AFTER || gap === undefined) return 0
    const recent = core[at + RECENT]! + (gap - core[at + RECENT]!) * RECENT_RATE
    return Math.asinh(Math.abs(recent - core[at + USUAL]!) / Math.max(spreadWith(core, at + SCALE, gap), SPREAD_MIN))
  }

  learn(state: MemberState, { tsMs }: Readonly<Sample>): void {
    const {
      turn: { core },
      at,
    } = state
    const gap = logGap(core[at + LAST_TS]!, tsMs)
    if (gap !== undefined) {
      learnSpread(core, at + SCALE, gap)
      const first = countOf(core, at + SCALE) === 1
      core[at + RECENT] = first ? gap : core[at + RECENT]! + (gap - core[at + RECENT]!) * RECENT_RATE
      core[at + USUAL] = first ? gap : core[at + USUAL]! + (gap - core[at + USUAL]!) * USUAL_RATE
    }
    core[at + LAST_TS] = tsMs
  }

  because(state: MemberState): string {
    return `readings come every ${plain(Math.exp(state.turn.core[state.at + RECENT]!) / 1_000)} s, where every ${plain(Math.exp(state.turn.core[state.at + USUAL]!) / 1_000)} s is usual`
  }
}

function logGap(lastTsMs: number, tsMs: number): number | undefined {
  const gapMs = tsMs - lastTsMs
  return lastTsMs === 0 || gapMs <= 0 ? undefined : Math.log(gapMs)
}
