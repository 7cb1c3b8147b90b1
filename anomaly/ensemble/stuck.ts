import type { Member, MemberState, Sample } from './member.ts'

/** Places in `core`. */
const LAST = 0
const RUN = 1
const LONGEST = 2
const SEEN = 3
const RUNS = 4
/** Runs of fewer equal values say nothing, however lively the series. */
const RUN_MIN = 12
/** Changes before it is known how long a value stands still. */
const SPEAKS_AFTER_RUNS = 20
/** A longer run than ever counts by this share, so that one fault does not hide the next; in a series that seldom changes it counts whole. */
const TEACHES = 0.05
const FADES = 1 / 20_000

/** A value that repeats for longer than it usually did at most: the log of how many times longer. A series that seldom changes is never stuck. */
export class Stuck implements Member {
  readonly name = 'stuck value'
  readonly doubles = 5
  readonly floats = 0

  create(): void {
    // An empty state is all zeros.
  }

  surprise(state: MemberState, { value }: Readonly<Sample>): number {
    const {
      turn: { core },
      at,
    } = state
    if (core[at + RUNS]! < SPEAKS_AFTER_RUNS || value !== core[at + LAST]) return 0
    const longer = (core[at + RUN]! + 1) / (Math.max(core[at + LONGEST]!, 1) + RUN_MIN)
    return longer > 1 ? Math.log(longer) : 0
  }

  learn(state: MemberState, { value }: Readonly<Sample>): void {
    const {
      turn: { core },
      at,
    } = state
    if (core[at + SEEN]! > 0 && value === core[at + LAST]) {
      core[at + RUN] = core[at + RUN]! + 1
    } else {
      const longer = core[at + RUN]! - core[at + LONGEST]!
      core[at + RUNS] = core[at + RUNS]! + 1
      core[at + LONGEST] = core[at + LONGEST]! + longer * (longer > 0 ? Math.max(1 / core[at + RUNS]!, TEACHES) : FADES)
      core[at + RUN] = 1
      core[at + LAST] = value
    }
    core[at + SEEN] = core[at + SEEN]! + 1
  }

  because(state: MemberState): string {
    return `it has not moved for ${state.turn.core[state.at + RUN]! + 1} readings, where it seldom stood still for more than ${Math.max(1, Math.round(state.turn.core[state.at + LONGEST]!))}`
  }
}
