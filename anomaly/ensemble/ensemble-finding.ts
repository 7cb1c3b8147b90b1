import type { Finding } from '../detector.ts'
import { explainAssessment, plain } from '../numeric-finding.ts'
import { RECENT_PART } from '../numeric-parameters.ts'
import type { EnsembleState } from './ensemble-state.ts'
import type { MemberState, Sample } from './member.ts'
import type { Weighted } from './members.ts'
import type { Verdict } from './verdict.ts'

/** Novelty from which a value needs a reason. */
const WORTH_A_REASON = 0.3

/** Why the judged value is as novel as it is: the fast tier's expectation and band, the members' shares, the largest one in words. */
export function explainEnsemble(
  state: EnsembleState,
  members: readonly Weighted[],
  states: readonly MemberState[],
  verdict: Verdict,
  sample: Readonly<Sample>,
): Omit<Finding, 'detector' | 'detectorVersion' | 'parameters'> {
  const { value, seen: readingsSeen } = sample
  const usual = explainAssessment(state.fast, value, sample.assessment)
  if (readingsSeen === 0) return { ...usual, contributions: [], readingsSeen }
  const contributions = contributionsOf(members, verdict)
  let sentence = usual.sentence
  if (verdict.novelty >= WORTH_A_REASON) {
    const most = largest(members, verdict)
    const reason = most === -1 ? 'the readings just before it were not usual' : members[most]!.member.because(states[most]!, sample)
    const outside = usual.low !== null && usual.high !== null && (value < usual.low || value > usual.high)
    const band = usual.low === null || usual.high === null ? '' : ` (between ${plain(usual.low)} and ${plain(usual.high)})`
    sentence = outside ? `${usual.sentence}; ${reason}` : `${plain(value)} alone would be normal${band}, but ${reason}`
  }
  return { ...usual, sentence, contributions, readingsSeen }
}

/** Each member's share of the novelty: shares of the sum of squares, and what earlier values left behind. They add up to the novelty. */
function contributionsOf(members: readonly Weighted[], verdict: Verdict): Finding['contributions'] {
  const { novelty, combined, recent, surprises } = verdict
  if (novelty === 0) return []
  const own = combined / (combined + recent)
  const contributions = members.map(({ member, weight }, k) => ({
    part: member.name,
    weight: combined === 0 ? 0 : (novelty * own * weight * surprises[k]! ** 2) / combined ** 2,
  }))
  contributions.push({ part: RECENT_PART, weight: novelty * (1 - own) })
  return contributions.filter((entry) => entry.weight > 0).sort((a, b) => b.weight - a.weight)
}

function largest(members: readonly Weighted[], verdict: Verdict): number {
  let most = 0
  let at = -1
  for (let k = 0; k < members.length; k++) {
    const share = members[k]!.weight * verdict.surprises[k]! ** 2
    if (share > most) {
      most = share
      at = k
    }
  }
  return at
}
