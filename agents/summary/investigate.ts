import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { AnomalyCause } from '../../contracts/anomaly.ts'
import type { Incident } from '../../contracts/incident.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import { describeError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import { CAUSES } from '../causes/catalogue.ts'
import type { ProposalKind } from '../../contracts/proposal.ts'
import { decideCauses, type CauseVerdict } from '../causes/decide.ts'
import type { RunbookId } from '../causes/runbooks.ts'
import type { CheckContext, CheckOutcome, CheckSubject, Fact } from '../checks/check.ts'
import { runChecks, within } from '../checks/run-checks.ts'
import type { EvidenceConfig } from '../evidence/config.ts'
import type { Evidence, EvidenceQuery } from '../evidence/evidence.ts'
import { measured, type MeasureContext } from '../evidence/measure.ts'
import { ReadingsReader } from '../evidence/readings.ts'
import type { PastIncident, Sources } from '../evidence/sources.ts'
import { UNSEEN_TOOLS, type Tools } from '../evidence/tool-spans.ts'
import { tainted } from '../evidence/tainted.ts'
import { featuresOf } from '../history/features.ts'
import { nearestIncidents } from '../history/nearest.ts'
import { CLAIM_OPS, type Claim, type EvidenceHandle, type MetricHandle } from './claim.ts'
import { gapsOf } from './gaps.ts'
import type { IncidentHistory, Investigation, Names } from './investigation.ts'
import { readSubject, type SubjectOptions } from './subject.ts'

export interface InvestigateOptions {
  config: EvidenceConfig
  log: Logger
  /** Sees each check, and each question that is asked. */
  tools?: Tools
}

/**
 * Looks at an incident as of now: twelve checks, causes by rules, similar incidents of before, and what could not be looked at. Resolves
 * within about `checkTimeoutMs` twice, whatever the sources do; throws NotFoundError only when not even the incident's first alert can be read.
 */
export async function investigate(
  incident: Incident,
  sources: Sources,
  clock: Clock,
  signal: AbortSignal,
  { config, log, tools = UNSEEN_TOOLS }: InvestigateOptions,
): Promise<Investigation> {
  const asOf = clock.nowMs()
  const { tenant } = incident
  const bounded = <T>(work: Promise<T>): Promise<T> => within(work, config.checkTimeoutMs, clock, signal)
  const { items: alerts, truncated } = await bounded(sources.alerts({ tenant, incident: incident.id, limit: config.alertsMax }))
  const alert = alerts.find(({ id }) => id === incident.firstAlertId) ?? alerts[0]
  if (alert === undefined) throw new NotFoundError(`incident ${incident.id} has no alert yet`, { retryable: true })
  const { subject, desk, outcomes } = await look({ incident, alert, asOf, sources, config, log, bounded, tools }, clock, signal)
  // Those that open while this is looked at are of the next look.
  const through = alerts.findLast(({ openedAt }) => openedAt <= asOf)?.id ?? alert.id
  const scale = await bounded(desk.ask({ kind: 'registry_fact', fact: 'alerts', incident: incident.id, through })).catch(
    logged(log, incident.id),
  )
  const features = featuresOf(alert.cause as AnomalyCause, incident.severity, new Set(alerts.map(({ device }) => device)).size, outcomes)
  const past = await bounded(pastOf(desk, incident, features, config)).catch(logged(log, incident.id))
  const names = await bounded(namesOf(subject, sources)).catch(() => plainNames(subject))
  const gaps = await gapsOf({ subject, outcomes, sources, bounded, alertsTruncated: truncated, pastFailed: past === null })
  const book = new ClaimBook(names, subject.metric)
  book.add(outcomes.flatMap(({ facts }) => facts))
  if (scale !== null && scale.status === 'success') book.add(scaleFacts(scale))
  if (past !== null && past.evidence.status === 'success') book.add(pastFacts(past.evidence))
  const causes = decideCauses(subject, outcomes)
  return assemble({
    incident,
    subject,
    asOf,
    names,
    outcomes,
    causes,
    gaps,
    book,
    features,
    history: past?.history ?? { compared: 0, similar: [] },
  })
}

type Looking = Omit<SubjectOptions, 'reader' | 'signal'> & { tools: Tools }

/** The subject and its checks. Readings that nobody waits for any more at its end are given up: others want to read. */
async function look(
  options: Looking,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ subject: CheckSubject; desk: Desk; outcomes: CheckOutcome[] }> {
  const { incident, asOf, sources, config, log, tools } = options
  const { tenant } = incident
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  // As many listen as there are questions to the store at once: peers, metrics and checks, bounded by settings.
  setMaxListeners(0, until)
  try {
    const reader = new ReadingsReader({ sources, tenant, asOf, limit: config.readingsMax * 2 + 1, signal: until })
    const { subject, readFailed } = await readSubject({ ...options, reader, signal: until })
    const { device, spans, oldestTs, newestTs } = subject
    if (spans !== null && oldestTs !== null && newestTs !== null)
      reader.ahead(device, { from: Math.min(oldestTs, spans.baseline.from), to: Math.max(newestTs + 1, spans.window.to) })
    const desk = new Desk({ tenant, asOf, sources, reader, config }, tools)
    const context: CheckContext = {
      subject,
      sources,
      reader,
      config,
      log,
      tools,
      ask: (query, of) => desk.ask(query, of),
      peers: () => desk.peers(subject),
    }
    const outcomes = await runChecks(context, clock, signal)
    return { subject, desk, outcomes: readFailed ? outcomes.map(withoutReadings) : outcomes }
  } finally {
    over.abort()
  }
}

const logged =
  (log: Logger, incident: string) =>
  (error: unknown): null => {
    log.warn({ incident, error: describeError(error) }, 'a part of the evidence could not be read')
    return null
  }

/** What rests on readings could not be looked at: that is another thing than that there were none. */
function withoutReadings(outcome: CheckOutcome): CheckOutcome {
  return outcome.status === 'no_data' ? { ...outcome, status: 'error', failure: outcome.failure ?? 'failed' } : outcome
}

/** Asks each question once. */
class Desk {
  readonly #context: MeasureContext
  readonly #tools: Tools
  readonly #asked = new Map<string, Promise<Evidence>>()
  #peers: Promise<readonly string[]> | undefined

  constructor(context: MeasureContext, tools: Tools) {
    this.#context = context
    this.#tools = tools
  }

  /** `tools`: of who asks; it is a use of whoever asks first. */
  ask(query: EvidenceQuery, tools = this.#tools): Promise<Evidence> {
    const key = JSON.stringify(query)
    let evidence = this.#asked.get(key)
    if (evidence === undefined) {
      evidence = measured(query, this.#context, tools)
      this.#asked.set(key, evidence)
    }
    return evidence
  }

  peers({ type, device }: CheckSubject): Promise<readonly string[]> {
    const { sources, tenant, config } = this.#context
    this.#peers ??=
      config.peersMax === 0 ? Promise.resolve([]) : namesOfPeers(sources.peers({ tenant, type, except: device, limit: config.peersMax }))
    return this.#peers
  }

  past(ask: Parameters<Sources['past']>[0]): Promise<{ items: PastIncident[] }> {
    return this.#context.sources.past(ask)
  }

  get asOf(): number {
    return this.#context.asOf
  }
}

async function namesOfPeers(answer: ReturnType<Sources['peers']>): Promise<readonly string[]> {
  return (await answer).items.map(({ device }) => device)
}

async function pastOf(desk: Desk, { id, tenant, openedAt }: Incident, features: number[], config: EvidenceConfig) {
  const { historyMax, similarFrom } = config
  const evidence = await desk.ask({ kind: 'history', incident: id, beforeMs: openedAt, features, similarFrom })
  const { items } = await desk.past({ tenant, beforeMs: openedAt, asOf: desk.asOf, except: id, limit: historyMax })
  const known = items.filter(({ publishedAt }) => publishedAt <= desk.asOf)
  return { evidence, history: nearestIncidents(known, features, similarFrom) }
}

function scaleFacts(evidence: Evidence): Fact[] {
  return [
    { op: 'alerts', evidence, required: true },
    { op: 'devices', evidence, required: true },
  ]
}

function pastFacts(evidence: Evidence): Fact[] {
  const facts: Fact[] = [
    { op: 'past_compared', evidence },
    { op: 'similar', evidence },
  ]
  return Number(evidence.result.similar) > 0 ? [...facts, { op: 'nearest', evidence }] : facts
}

function plainNames({ device, metric, powerMetrics }: CheckSubject): Names {
  const metrics = [...(metric === null ? [] : [metric]), ...powerMetrics.filter((name) => name !== metric)]
  return {
    devices: { D1: { device, name: tainted(device) } },
    metrics: Object.fromEntries(metrics.map((name, index) => [`M${index + 1}`, { metric: name, name: tainted(name), unit: null }])),
  }
}

async function namesOf(subject: CheckSubject, sources: Sources): Promise<Names> {
  const names = plainNames(subject)
  for (const entry of Object.values(names.metrics)) entry.unit = (await sources.metric(subject.tenant, subject.type, entry.metric)).unit
  return names
}

/** Claims and evidence, each under its handle, in the order in which they were stated. */
class ClaimBook {
  readonly claims: Claim[] = []
  readonly evidence: Record<EvidenceHandle, Evidence> = {}
  readonly #names: Names
  readonly #metric: string | null
  readonly #handles = new Map<string, EvidenceHandle>()

  /** `metric`: what the detector's own figures are about. */
  constructor(names: Names, metric: string | null) {
    this.#names = names
    this.#metric = metric
  }

  handleOf(evidence: Evidence): EvidenceHandle {
    let handle = this.#handles.get(evidence.id)
    if (handle === undefined) {
      handle = `E${this.#handles.size + 1}`
      this.#handles.set(evidence.id, handle)
      this.evidence[handle] = evidence
    }
    return handle
  }

  /** A figure that the evidence does not have is not claimed; one that was claimed already is not claimed twice. */
  add(facts: readonly Fact[]): void {
    for (const { op, evidence, metric, required = false } of facts) {
      const { kind, field, unit } = CLAIM_OPS[op]
      const value = evidence.result[field]
      if (typeof value !== 'number' || evidence.kind !== kind) continue
      const handle = this.handleOf(evidence)
      const known = this.claims.find((claim) => claim.op === op && claim.evidence[0] === handle)
      if (known !== undefined) {
        known.required ||= required
        continue
      }
      const { query } = evidence
      const of = 'of' in query ? query.of : 'metric' in query ? query : null
      this.claims.push({
        ...{ id: `c${this.claims.length + 1}`, kind, op },
        device: isAboutDevice(query) ? 'D1' : null,
        metric: this.#handleOfMetric(metric ?? of?.metric ?? (kind === 'model_score' || kind === 'attribution' ? this.#metric : null)),
        ...{ value, unit },
        window: 'window' in query ? query.window : null,
        ...{ evidence: [handle], required },
      })
    }
  }

  #handleOfMetric(name: string | null): MetricHandle | null {
    const found = Object.entries(this.#names.metrics).find(([, entry]) => entry.metric === name)
    return found === undefined ? null : (found[0] as MetricHandle)
  }
}

function isAboutDevice(query: EvidenceQuery): boolean {
  return !(query.kind === 'history' || (query.kind === 'registry_fact' && query.fact === 'alerts'))
}

interface Parts {
  incident: Incident
  subject: CheckSubject
  asOf: number
  names: Names
  outcomes: CheckOutcome[]
  causes: CauseVerdict[]
  gaps: Investigation['gaps']
  book: ClaimBook
  features: number[]
  history: IncidentHistory
}

function assemble({ incident, subject, asOf, names, outcomes, causes, gaps, book, features, history }: Parts): Investigation {
  const { id, tenant, level, severity, openedAt } = incident
  const reports = causes.map(({ code, level: sure, evidence }) => ({
    code,
    level: sure,
    evidence: evidence.map((one) => book.handleOf(one)),
  }))
  const cited = new Set(book.claims.flatMap(({ evidence }) => evidence).concat(reports.flatMap(({ evidence }) => evidence)))
  const checks = outcomes.map(({ name, status, interesting, evidence }) => {
    const handles = evidence.filter((one) => one.status === 'success').map((one) => book.handleOf(one))
    return { name, status, interesting, evidence: handles.filter((handle) => cited.has(handle) || interesting) }
  })
  const runbooks: RunbookId[] = [...new Set(reports.map(({ code }) => CAUSES[code].runbook))]
  const proposals: ProposalKind[] = [
    ...new Set(reports.filter(({ level: sure }) => sure !== 'INCONCLUSIVE').flatMap(({ code }) => CAUSES[code].proposals)),
  ]
  const content = {
    claims: book.claims.map(({ op, device, metric, value }) => ({ op, device, metric, value })),
    causes: reports.map(({ code, level: sure }) => [code, sure]),
    gaps,
  }
  return {
    incident: { id, tenant, level, cause: subject.cause, metric: subject.metric === null ? null : 'M1', severity, openedAt },
    ...{ asOf, names, evidence: book.evidence, checks, claims: book.claims, causes: reports, runbooks, proposals, gaps, history, features },
    evidenceHash: createHash('sha256').update(canonicalJson(content)).digest('hex'),
  }
}
