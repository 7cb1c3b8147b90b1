import type { EnsembleParameters } from './ensemble-parameters.ts'
import { RECENT, SEEN } from './ensemble-state.ts'
import type { MemberState, Sample } from './member.ts'
import type { Weighted } from './members.ts'

/** What one value looks like to the ensemble: made for every value, so one object is filled again and again. */
export interface Verdict {
  /** Surprise of each member, in their order. */
  readonly surprises: Float64Array
  /** Root of the weighted sum of squares; its short mean with this value in it; half of each, damped while warming up. */
  combined: number
  recent: number
  joint: number
  /** [0, 1]. */
  novelty: number
}

/** Values before anything is said. */
const SILENT_READINGS = 30

export function fillVerdict(
  verdict: Verdict,
  core: Float64Array,
  states: readonly MemberState[],
  members: readonly Weighted[],
  sample: Readonly<Sample>,
  parameters: Readonly<EnsembleParameters>,
): void {
  let sum = 0
  for (let k = 0; k < members.length; k++) {
    const { member, weight } = members[k]!
    const surprise = member.surprise(states[k]!, sample)
    verdict.surprises[k] = surprise
    sum += weight * surprise * surprise
  }
  const seen = core[SEEN]!
  verdict.combined = Math.sqrt(sum)
  verdict.recent = core[RECENT]! + (verdict.combined - core[RECENT]!) / parameters.noveltyMeanReadings
  const warm = seen <= SILENT_READINGS ? 0 : Math.min(1, seen / parameters.warmUpReadings)
  verdict.joint = (warm * (verdict.combined + verdict.recent)) / 2
  verdict.novelty = 1 - Math.pow(2, -verdict.joint / parameters.halfNoveltyAt)
}
