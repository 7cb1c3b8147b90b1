import type { TroubleKind } from '../../contracts/platform-trouble.ts'
import { RUNBOOKS, type RunbookId } from '../causes/runbooks.ts'
import type { Evidence } from '../evidence/evidence.ts'

/** What to do about each kind of trouble. */
export const REMEDIES: Readonly<Record<TroubleKind, RunbookId>> = {
  part: 'RB-018',
  silent: 'RB-019',
  lag: 'RB-020',
  'dead-letters': 'RB-021',
  breaker: 'RB-022',
  training: 'RB-023',
  clock: 'RB-024',
}
const UNITS: Readonly<Record<TroubleKind, string>> = {
  ...{ part: '', silent: 's', lag: 'messages', 'dead-letters': 'messages', breaker: '', training: 'minutes', clock: 's' },
}

/** One trouble as the watchdog saw it: the part by its name, and the evidence for the rest. */
export interface SeenTrouble {
  part: string
  isOver: boolean
  evidence: Evidence
}

/** What the watchdog says of an incident of the platform: each trouble with its figure and its evidence, and what to do. */
export function watchdogWords(troubles: readonly SeenTrouble[], truncated: boolean): string {
  const kinds = new Set<TroubleKind>()
  const lines = troubles.map(({ part, isOver, evidence: { id, status, result } }) => {
    if (status !== 'success') return `- ${part}: what was seen of it could not be read again [${id}]`
    const kind = result.trouble as TroubleKind
    if (!isOver) kinds.add(kind)
    const unit = UNITS[kind]
    const figure =
      result.observed === null
        ? ''
        : `, ${String(result.observed)} ${unit}${result.limit === null ? '' : ` (limit ${String(result.limit)})`}`
    return `- ${part}: ${kind}${figure}, since ${new Date(Number(result.since)).toISOString()}${isOver ? '; it is over' : ''} [${id}]`
  })
  const remedies = [...kinds].map((kind) => REMEDIES[kind]).toSorted()
  const steps = remedies.flatMap((id) => [`${id} ${RUNBOOKS[id].title}`, ...RUNBOOKS[id].steps.map((step) => `- ${step}`)])
  return [
    troubles.length === 0
      ? 'The platform itself was in trouble; nothing of it is to be seen any more.'
      : 'The platform itself is in trouble:',
    ...lines,
    ...(truncated ? ['- and more'] : []),
    ...(steps.length === 0 ? [] : ['', 'What to do:', ...steps]),
  ].join('\n')
}
