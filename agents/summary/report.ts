import { CLAIM_OPS, type Claim, type ClaimOp } from './claim.ts'
import type { Draft, SentenceSection } from './draft.ts'
import type { IncidentHistory, Investigation } from './investigation.ts'

type Sentence = Draft['sentences'][number]

/** Ops whose sign is a direction. */
const SIGNED: ReadonlySet<ClaimOp> = new Set(['shift', 'shift_spreads', 'peak_spreads', 'trend_spreads'])
const OF_IMPACT: ReadonlySet<ClaimOp> = new Set(['alerts', 'devices', 'compared', 'together'])
/** Said with their own sentence below, or by the section on incidents of before. */
const ELSEWHERE: ReadonlySet<ClaimOp> = new Set(['past_compared', 'similar', 'nearest'])

/**
 * The local reporter: templates of ours with slots, no model, no network; the same investigation gives the same draft, byte for byte.
 * Every claim that is not of the history is stated once.
 */
export function report(investigation: Investigation, _history: IncidentHistory = investigation.history): Draft {
  const { claims } = investigation
  const sentences: Sentence[] = []
  const stated = new Set<string>()
  const say = (section: SentenceSection, template: (claims: readonly Claim[]) => string, used: readonly (Claim | undefined)[]): void => {
    const all = used.filter((claim): claim is Claim => claim !== undefined && !stated.has(claim.id))
    if (all.length === 0 || all.length < used.length) return
    for (const { id } of all) stated.add(id)
    sentences.push({ section, text: `${template(all)}${citations(all)}.`, claims: all.map(({ id }) => id) })
  }
  const find = (op: ClaimOp): Claim | undefined => claims.find((claim) => claim.op === op)
  // Of the same evidence: another metric's usual value is not this one's.
  const beside = (claim: Claim | undefined, op: ClaimOp): Claim | undefined =>
    claims.find((other) => other.op === op && other.evidence[0] === claim?.evidence[0])
  const [shift, peak, observed, silent] = [find('shift'), find('peak'), find('observed'), find('silent_for')]
  say('what_happened', ([onset]) => `${subjectOf(onset)} began to be unusual at ${value(onset)}`, [find('onset')])
  say('what_happened', ([was, expected]) => `${subjectOf(was)} was ${value(was)} where ${value(expected)} was expected`, [
    observed,
    beside(observed, 'expected'),
  ])
  say('what_happened', ([gone, usual]) => `${subjectOf(gone)} has been silent for ${value(gone)}; its usual interval is ${value(usual)}`, [
    silent,
    beside(silent, 'usual_gap'),
  ])
  say(
    'what_happened',
    ([moved, by, usual]) => `${subjectOf(moved)} ${direction(moved)} by ${value(moved)} (${value(by)}) from the usual ${value(usual)}`,
    [shift, beside(shift, 'shift_spreads'), beside(shift, 'usual')],
  )
  say('what_happened', ([top, by, usual]) => `${subjectOf(top)} reached ${value(top)}, ${value(by)} from the usual ${value(usual)}`, [
    peak,
    beside(peak, 'peak_spreads'),
    beside(peak, 'usual'),
  ])
  say('impact', ([alerts, devices]) => `The incident has ${value(alerts)} of ${value(devices)}`, [find('alerts'), find('devices')])
  for (const claim of claims) {
    if (ELSEWHERE.has(claim.op)) continue
    const section = OF_IMPACT.has(claim.op) ? 'impact' : 'what_happened'
    say(section, ([one]) => `${subjectOf(one)}: ${name(one)} ${SIGNED.has(claim.op) ? `${direction(one)} by ` : ''}${value(one)}`, [claim])
  }
  const lead = silent ?? shift ?? peak ?? observed ?? find('onset') ?? find('alerts')
  return {
    headline: lead === undefined ? 'An incident' : headlineOf(lead),
    sentences,
    causes: investigation.causes.map(({ code, level, evidence }) => ({ code, level, evidence: [...evidence] })),
    checks: [...investigation.runbooks],
    control: null,
  }
}

function headlineOf(claim: Claim): string {
  const subject = subjectOf(claim)
  const cited = citations([claim])
  if (claim.op === 'silent_for') return `${subject} silent for ${value(claim)}${cited}`
  if (claim.op === 'shift') return `${subject} ${direction(claim)} by ${value(claim)}${cited}`
  if (claim.op === 'peak' || claim.op === 'observed') return `${subject} reached ${value(claim)}${cited}`
  if (claim.op === 'onset') return `${subject} unusual since ${value(claim)}${cited}`
  return `${name(claim)}: ${value(claim)}${cited}`
}

/** Templates get exactly the claims that they asked for. */
function subjectOf(claim: Claim | undefined): string {
  const { device = null, metric = null } = claim ?? {}
  const parts = [device === null ? '' : `{dev:${device}}`, metric === null ? '' : `{metric:${metric}}`].filter((part) => part !== '')
  return parts.length === 0 ? 'The incident' : parts.join(' ')
}
const value = (claim: Claim | undefined): string => `{c:${claim?.id ?? 'c1'}.value}`
const name = (claim: Claim | undefined): string => `{c:${claim?.id ?? 'c1'}.name}`
const direction = (claim: Claim | undefined): string => `{c:${claim?.id ?? 'c1'}.direction}`

function citations(claims: readonly Claim[]): string {
  const handles = [...new Set(claims.flatMap(({ evidence }) => evidence))]
  return handles.map((handle) => ` [ev:${handle}]`).join('')
}

/** Which way a claim went, for people; empty where it has no direction. */
export function directionOf({ op, value: figure }: Claim): string {
  if (!SIGNED.has(op)) return ''
  return figure > 0 ? 'rose' : figure < 0 ? 'fell' : 'did not change'
}

/** What a claim is, in words. */
export function nameOf({ op }: Claim): string {
  return CLAIM_OPS[op].says
}
