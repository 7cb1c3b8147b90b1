import type { Sample, Member, MemberState } from './member.ts'

/** Place of the fast tier's part that this member speaks for. */
const SHIFT_PART = 3

/** A lasting move away from the level or season, told by the mean signed deviation of the latest values: the fast tier's change point. */
export class LevelShift implements Member {
  readonly name = 'shift of level'
  readonly doubles = 0
  readonly floats = 0

  create(): void {
    // It keeps nothing of its own.
  }

  surprise(_state: MemberState, { assessment }: Readonly<Sample>): number {
    return assessment.excesses[SHIFT_PART]!
  }

  learn(): void {
    // The fast tier learns.
  }

  because(_state: MemberState, { assessment }: Readonly<Sample>): string {
    return `the latest readings lie ${assessment.shift > 0 ? 'above' : 'below'} their level together`
  }
}
