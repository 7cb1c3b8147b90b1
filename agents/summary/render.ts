import { PROPOSAL_KINDS } from '../../contracts/proposal.ts'
import { CAUSES } from '../causes/catalogue.ts'
import { RUNBOOKS } from '../causes/runbooks.ts'
import { displayText, tainted } from '../evidence/tainted.ts'
import { CLAIM_OPS, type Claim, type EvidenceHandle } from './claim.ts'
import type { Draft } from './draft.ts'
import { figureText, plainNumber, timeText } from './figures.ts'
import type { Gap, GapCode, Investigation } from './investigation.ts'
import { directionOf, nameOf } from './report.ts'
import { partsOf } from './slots.ts'

export const SECTION_TITLES = [
  'What happened',
  'Impact',
  'Evidence',
  'Possible causes',
  'Seen before',
  'What to check',
  'What could not be checked',
] as const
export interface Section {
  title: (typeof SECTION_TITLES)[number]
  /** Plain text for people: to be shown as text, never as markup. */
  lines: string[]
}

const NAME_LENGTH_MAX = 64

/** A verified draft for people: names, figures and times are joined in here and nowhere else. */
export function render(draft: Draft, investigation: Investigation): { headline: string; sections: Section[] } {
  const textOf = (text: string): string => fill(text, investigation)
  const ofSection = (section: string): string[] => draft.sentences.filter((one) => one.section === section).map(({ text }) => textOf(text))
  const lines: Record<(typeof SECTION_TITLES)[number], string[]> = {
    'What happened': ofSection('what_happened'),
    Impact: ofSection('impact'),
    Evidence: evidenceLines(investigation),
    'Possible causes': draft.causes.map(({ code, level, evidence }) => `${level}: ${CAUSES[code].says} (${code})${cited(evidence)}`),
    'Seen before': historyLines(investigation),
    'What to check': [
      ...draft.checks.flatMap((id) => [`${id} ${RUNBOOKS[id].title}`, ...RUNBOOKS[id].steps.map((step) => `- ${step}`)]),
      ...investigation.proposals.map(
        (kind) => `Waits for somebody's approval, where it can be done: ${PROPOSAL_KINDS[kind].says} (${kind})`,
      ),
    ],
    'What could not be checked':
      investigation.gaps.length === 0 ? ['Everything that is looked at was looked at.'] : investigation.gaps.map(gapText),
  }
  return { headline: textOf(draft.headline), sections: SECTION_TITLES.map((title) => ({ title, lines: lines[title] })) }
}

function fill(text: string, { claims, names }: Investigation): string {
  const claimOf = (id: string): Claim | undefined => claims.find((claim) => claim.id === id)
  const filled = partsOf(text).map((part) => {
    if (part.kind === 'words') return part.text
    if (part.kind === 'device') return displayText(names.devices[part.handle]?.name ?? tainted(part.handle), NAME_LENGTH_MAX)
    if (part.kind === 'metric') return displayText(names.metrics[part.handle]?.name ?? tainted(part.handle), NAME_LENGTH_MAX)
    if (part.kind === 'citation') return `[${part.evidence}]`
    const claim = claimOf(part.claim)
    if (claim === undefined) return part.claim
    return part.field === 'value' ? figureText(claim, names) : part.field === 'direction' ? directionOf(claim) : nameOf(claim)
  })
  return filled.join('')
}

function cited(evidence: readonly EvidenceHandle[]): string {
  return evidence.map((handle) => ` [${handle}]`).join('')
}

function evidenceLines({ evidence, claims, names }: Investigation): string[] {
  return Object.entries(evidence).map(([handle, { id, kind, status, truncated }]) => {
    const said = claims
      .filter((claim) => claim.evidence.includes(handle as EvidenceHandle))
      .map(
        (claim) =>
          `${CLAIM_OPS[claim.op].says} ${claim.value < 0 && claim.unit !== 'time' ? 'minus ' : ''}${figureText(claim, names).replace(/^-/, '')}`,
      )
    const notes = [status === 'success' ? '' : status, truncated ? 'truncated' : ''].filter((note) => note !== '')
    return `[${handle}] ${kind} ${id}${notes.length === 0 ? '' : ` (${notes.join(', ')})`}${said.length === 0 ? '' : `: ${said.join('; ')}`}`
  })
}

const RESOLUTIONS = { operator: 'resolved by an operator', 'by-itself': 'went away by itself', open: 'still open' } as const

function historyLines({ history }: Investigation): string[] {
  if (history.similar.length === 0) return [`Nothing similar among ${history.compared} incidents of before.`]
  return history.similar.map(({ incident, likeness, openedAt, cause, level, resolution, rating }) => {
    const rated = rating === null ? 'not rated' : `rated ${rating.stars} of 5, ${displayText(tainted(rating.verdict), NAME_LENGTH_MAX)}`
    const name = displayText(tainted(incident), NAME_LENGTH_MAX)
    const said = displayText(tainted(`${level}: ${cause}`), NAME_LENGTH_MAX)
    return `${name} of ${timeText(openedAt)}, likeness ${plainNumber(likeness)}; ${said}; ${RESOLUTIONS[resolution]}; ${rated}`
  })
}

const GAPS: Record<GapCode, string> = {
  check_failed: 'could not be read, so it was not checked',
  check_timed_out: 'took too long, so it was not checked',
  check_no_data: 'had nothing to look at',
  truncated: 'was looked at in part: there was more than the bound',
  late_data: 'some readings came late, so figures may change',
  few_readings: 'too few readings since it began to tell a spike from what lasts',
  young_device: 'too few readings from before to know what is usual, or none since it began',
  store_behind: 'the store does not have the reading that raised the alert yet',
  only_alert_seen: 'apart from the alert itself nothing unusual was seen',
  unknown_device: 'the registry does not know the device',
  said_elsewhere: 'another system raised it, and what it saw there could not be checked',
}

export function gapText({ code, check }: Gap): string {
  return `${check === null ? 'The incident' : `Check ${check}`}: ${GAPS[code]}.`
}
