import type { Proposal, ProposalKind } from '../../contracts/proposal.ts'
import { CAUSES } from '../causes/catalogue.ts'
import { displayText, tainted } from '../evidence/tainted.ts'
import type { Grounds } from '../proposals/proposals.ts'
import type { Investigation } from '../summary/investigation.ts'

const NAME_LENGTH_MAX = 128

/** What the causes that are likely or confirmed allow to propose, each with the first cause that does. */
export function groundsOf({ causes, evidence }: Investigation): Map<ProposalKind, Grounds> {
  const grounds = new Map<ProposalKind, Grounds>()
  for (const { code, level, evidence: handles } of causes) {
    if (level === 'INCONCLUSIVE') continue
    const behind = handles.flatMap((handle) => evidence[handle]?.id ?? [])
    for (const kind of CAUSES[code].proposals) if (!grounds.has(kind)) grounds.set(kind, { cause: code, level, evidence: behind })
  }
  return grounds
}

/** The dispatcher's words: of code, with ids alone. */
export function proposedWords(proposals: readonly Proposal[]): { content: string; evidence: string[] } {
  const lines = proposals.map(({ id, kind, target, says, level, cause }) => {
    const name = displayText(tainted(target), NAME_LENGTH_MAX)
    return `${id}: ${says} (${kind} of ${name}; ${level}: ${cause})`
  })
  const content = ['Proposed, for somebody to approve or reject; nothing is done before:', ...lines].join('\n')
  return { content, evidence: proposals.map(({ id }) => `proposal:${id}`) }
}
