import { distanceFromMean, offSeason, shortMean, step, theValue } from './features.ts'
import { LevelShift } from './level-shift.ts'
import type { Member } from './member.ts'
import { NearestValue } from './nearest-value.ts'
import { Regimes } from './regimes.ts'
import { SamplingRate } from './sampling-rate.ts'
import { Stuck } from './stuck.ts'

/** A member and what its square counts in the sum. */
export interface Weighted {
  readonly member: Member
  readonly weight: number
}

/**
 * The members in use. Weights are rough on purpose: on recorded and synthetic series the accuracy is flat around them
 * (docs/decisions/0024-ensemble.md); those that are measured in spreads and not in logarithms of distance count less.
 */
export const MEMBERS: readonly Weighted[] = [
  { member: new NearestValue(theValue), weight: 1 },
  { member: new NearestValue(shortMean(3)), weight: 1 },
  { member: new NearestValue(shortMean(10)), weight: 1 },
  { member: new NearestValue(distanceFromMean(10)), weight: 0.3 },
  { member: new NearestValue(step), weight: 0.3 },
  { member: new NearestValue(offSeason), weight: 0.3 },
  { member: new Regimes(), weight: 0.4 },
  { member: new LevelShift(), weight: 0.05 },
  { member: new Stuck(), weight: 0.3 },
  { member: new SamplingRate(), weight: 0.08 },
]
