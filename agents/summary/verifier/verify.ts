import type { Alert } from '../../../contracts/alert.ts'
import { describeError } from '../../../kernel/errors.ts'
import type { EvidenceConfig } from '../../evidence/config.ts'
import { evidenceId, type Evidence, type EvidenceQuery } from '../../evidence/evidence.ts'
import type { Sources } from '../../evidence/sources.ts'
import type { Claim, EvidenceHandle } from '../claim.ts'
import { checkDraft, type Draft } from '../draft.ts'
import type { Investigation } from '../investigation.ts'
import { checkCauses } from './cause-rules.ts'
import { CLAIM_RULES, GROWING } from './claim-rules.ts'
import { checkGaps } from './gap-rules.ts'
import { isSameFigure } from './own-statistics.ts'
import { Recount, type Figures } from './recount.ts'
import { checkTexts } from './text-rules.ts'
import { VERIFIER, type Fault, type Verdict } from './verdict.ts'

/** What is to be published: words, and all that they rest on. Nothing of it is trusted. */
export interface Submission {
  draft: Draft
  investigation: Investigation
}

export interface VerifyOptions {
  config: EvidenceConfig
  /** When it aborts, readings that are being asked for are given up. */
  signal?: AbortSignal
}

/**
 * A second implementation: it asks the sources again, counts in its own way, and compares every figure, subject, window, unit, citation,
 * level and gap. Faults are collected, bounded. Never throws for what it checks; what the sources throw makes it `unavailable`.
 */
export async function verify({ draft, investigation }: Submission, sources: Sources, options: VerifyOptions): Promise<Verdict> {
  const faults: Fault[] = []
  const fault = (code: Fault['code'], where: string, detail: string): void => {
    if (faults.length < FAULTS_MAX) faults.push({ code, where, detail })
  }
  const checked = checkDraft(draft)
  if (checked.status === 'invalid')
    return refused([{ code: 'bad_shape', where: checked.faults[0]?.path.slice(0, 100) ?? '', detail: 'it is not a draft' }])
  checkIds(investigation, fault)
  checkTexts(draft, investigation, (where) => (code, detail) => fault(code, where, detail))
  checkRequired(draft, investigation, fault)
  checkCauses(draft, investigation, fault)
  const { asOf, incident, evidence } = investigation
  for (const [handle, one] of Object.entries(evidence)) checkEvidence(handle, one, asOf, fault)
  // What cannot stand whatever the sources say need not be counted again.
  if (faults.length > 0) return refused(faults)
  try {
    const recount = new Recount({ ...options, sources, tenant: incident.tenant, asOf })
    await checkClaims(investigation, recount, sources, fault)
    await checkGaps(investigation, recount, sources, options.config, fault)
  } catch (error) {
    return { status: 'unavailable', reason: describeError(error), checkedBy: VERIFIER }
  }
  return faults.length > 0 ? refused(faults) : { status: 'verified', claims: investigation.claims.length, checkedBy: VERIFIER }
}

/** More would say no more. */
const FAULTS_MAX = 50

type FaultAt = (code: Fault['code'], where: string, detail: string) => void

function refused(faults: Fault[]): Verdict {
  return { status: 'refused', faults, checkedBy: VERIFIER }
}

function checkIds({ claims, evidence, checks }: Investigation, fault: FaultAt): void {
  if (new Set(claims.map(({ id }) => id)).size < claims.length) fault('unknown_id', 'claims', 'an id stands twice')
  for (const { evidence: handles, name } of checks) {
    if (!handles.every((handle) => Object.hasOwn(evidence, handle))) fault('unknown_id', `checks.${name}`, 'evidence that does not exist')
  }
}

/** The facts that matter are stated; every statement is one that was claimed. */
function checkRequired({ sentences }: Draft, { claims }: Investigation, fault: FaultAt): void {
  const stated = new Set<string>(sentences.flatMap((sentence) => sentence.claims))
  for (const { id, required } of claims) if (required && !stated.has(id)) fault('missing_fact', id, 'a fact that must be stated is not')
}

function checkEvidence(handle: string, evidence: Evidence, asOf: number, fault: FaultAt): void {
  const where = `evidence.${handle}`
  if (evidence.id !== evidenceId(evidence)) fault('forged_evidence', where, 'its id is not the hash of what it holds')
  if (evidence.kind !== evidence.query.kind) fault('wrong_kind', where, 'it is not of the kind of its question')
  if (evidence.asOf !== asOf) fault('wrong_time', where, 'it is of another instant')
}

async function checkClaims(investigation: Investigation, recount: Recount, sources: Sources, fault: FaultAt): Promise<void> {
  const counted = new Map<EvidenceHandle, Figures>()
  // All are asked for at once; what fails is seen below, at its turn.
  const queries = Object.values(investigation.evidence).map(({ query }) => query)
  recount.ahead(queries)
  await Promise.allSettled(queries.map((query) => recount.figures(query)))
  for (const [handle, { query, result }] of Object.entries(investigation.evidence)) {
    const figures = await recount.figures(query)
    counted.set(handle as EvidenceHandle, figures)
    checkResult(result, figures, (detail) => fault('wrong_value', `evidence.${handle}`, detail))
  }
  await checkNames(investigation, sources, fault)
  for (const claim of investigation.claims) checkClaim(claim, investigation, counted, fault)
}

/** What the evidence holds is what is counted now: a figure that only the other side knows would not be one. */
function checkResult(result: Evidence['result'], figures: Figures, fault: (detail: string) => void): void {
  const hasGrown = isNewer(result, figures)
  for (const [name, value] of Object.entries(result)) {
    const now = figures[name]
    if (typeof value !== 'number' || typeof now !== 'number') continue
    if (hasGrown && (GROWING.has(name) || name === 'ledgerVersion') ? value > now || value < 0 : !isSameFigure(value, now))
      fault('its figures are not those of the sources')
  }
}

function isNewer(result: Evidence['result'], figures: Figures): boolean {
  return (
    typeof result.ledgerVersion === 'number' && typeof figures.ledgerVersion === 'number' && figures.ledgerVersion > result.ledgerVersion
  )
}

function checkClaim(claim: Claim, investigation: Investigation, counted: ReadonlyMap<EvidenceHandle, Figures>, fault: FaultAt): void {
  const { id, op, kind, unit, value, evidence: handles } = claim
  const rule = CLAIM_RULES.get(op)
  const [handle] = handles
  const evidence = handle === undefined ? undefined : investigation.evidence[handle]
  if (rule === undefined || handles.length !== 1 || handle === undefined || evidence === undefined) {
    fault('unknown_id', id, 'it does not rest on one piece of evidence')
    return
  }
  if (rule.kind !== kind || evidence.kind !== kind) fault('wrong_kind', id, 'evidence of another kind')
  if (rule.unit !== unit) fault('wrong_unit', id, 'another unit')
  if (evidence.status !== 'success') fault('unsupported', id, 'evidence that found nothing')
  const figures = counted.get(handle) ?? {}
  const figure = figures[rule.figure]
  const grown = GROWING.has(rule.figure) && isNewer(evidence.result, figures)
  if (typeof figure !== 'number') fault('unsupported', id, 'the sources do not say so')
  else if (grown ? value > figure || !isSameFigure(value, Number(evidence.result[rule.figure])) : !isSameFigure(value, figure))
    fault('wrong_value', id, 'the sources say another figure')
  checkSubject(claim, evidence.query, investigation, fault)
}

/** Device, metric and window are those of the question. */
function checkSubject(
  { id, device, metric, window }: Claim,
  query: EvidenceQuery,
  { names, incident }: Investigation,
  fault: FaultAt,
): void {
  const series = 'of' in query ? query.of : query
  const asked = 'window' in query ? query.window : null
  if (window?.from !== asked?.from || window?.to !== asked?.to) fault('wrong_window', id, 'another time')
  const isNamed = (handle: string | null, known: object): boolean => handle === null || Object.hasOwn(known, handle)
  if (!isNamed(device, names.devices) || !isNamed(metric, names.metrics)) fault('wrong_subject', id, 'a handle that stands for nothing')
  const isWhole = query.kind === 'history' || (query.kind === 'registry_fact' && query.fact === 'alerts')
  if (isWhole !== (device === null)) fault('wrong_subject', id, 'it is not about the whole incident, or should be')
  const named = device === null ? undefined : names.devices[device]?.device
  const about = 'device' in series ? series.device : 'silent' in series ? series.silent : undefined
  if (about !== undefined && named !== about) fault('wrong_subject', id, 'it is about another device')
  const measured = metric === null ? undefined : names.metrics[metric]?.metric
  const asks = 'metric' in series ? series.metric : undefined
  const ofDetector = query.kind === 'model_score' || query.kind === 'attribution'
  if (ofDetector ? metric !== incident.metric : measured !== asks) fault('wrong_subject', id, 'it is about another metric')
}

/** The device and metric that are named first are those of an alert of the incident. */
async function checkNames({ names, incident, evidence }: Investigation, sources: Sources, fault: FaultAt): Promise<void> {
  const { items } = await sources.alerts({ tenant: incident.tenant, incident: incident.id, limit: 1_000 })
  const device = names.devices.D1?.device
  const metric = incident.metric === null ? null : (names.metrics[incident.metric]?.metric ?? null)
  const isThere = items.some((alert) => alert.device === device && alert.cause === incident.cause && metricOf(alert) === metric)
  if (!isThere) fault('wrong_subject', 'names', 'no alert of the incident is about them')
  const anomalies = new Set(items.flatMap(({ firstAnomalyId, lastAnomalyId }) => [firstAnomalyId, lastAnomalyId]))
  for (const [handle, { query }] of Object.entries(evidence)) {
    if ((query.kind === 'model_score' || query.kind === 'attribution') && !anomalies.has(query.anomaly))
      fault('wrong_subject', `evidence.${handle}`, 'an anomaly of no alert of the incident')
    if ('incident' in query && query.incident !== incident.id) fault('wrong_subject', `evidence.${handle}`, 'another incident')
  }
}

/** The metric that an alert is about, where readings carry it. */
function metricOf({ cause, metric }: Alert): string | null {
  return metric !== '' && (cause === 'value' || cause === 'rule') ? metric : null
}
