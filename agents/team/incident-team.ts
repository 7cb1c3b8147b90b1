import type { Digest } from '../../contracts/digest.ts'
import type { Incident } from '../../contracts/incident.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { SpanSink } from '../../kernel/spans.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { Words } from '../conversation/conversation-document.ts'
import type { EvidenceConfig } from '../evidence/config.ts'
import { HistorianMemory } from '../memory/historian-memory.ts'
import type { Memories } from '../memory/memories.ts'
import { measured } from '../evidence/measure.ts'
import { ReadingsReader } from '../evidence/readings.ts'
import { EvidenceStore } from '../evidence/evidence-store.ts'
import type { Sources } from '../evidence/sources.ts'
import { ToolSpans, type Tools } from '../evidence/tool-spans.ts'
import type { Proposals } from '../proposals/proposals.ts'
import type { AgentRole } from '../roster/agent-document.ts'
import { namedAuthor } from '../summary/label.ts'
import { passGate, type GateAnswer } from '../summary/gate.ts'
import { investigate } from '../summary/investigate.ts'
import type { Investigation } from '../summary/investigation.ts'
import { report } from '../summary/report.ts'
import { SummaryStore, type SummaryDocument } from '../summary/summary-store.ts'
import type { Speaker, Turn, TurnResult } from '../turns/speaker.ts'
import { responseSpan } from '../turns/turn-spans.ts'
import { watchdogWords, type SeenTrouble } from '../watchdog/watchdog-words.ts'
import { answerFrom } from './answers.ts'
import { groundsOf, proposedWords } from './dispatching.ts'
import { InvestigationStore } from './investigation-store.ts'
import { Lanes } from './lanes.ts'
import { reword, type Models } from './rewording.ts'

/** Troubles of the platform that are named at a time; more would not be read. */
const TROUBLES_MAX = 20
const LOCAL = namedAuthor({ kind: 'local' })

export interface IncidentTeamOptions {
  documents: Documents
  clock: Clock
  log: Logger
  config: EvidenceConfig
  sources: Sources
  metrics: Metrics
  /** Absent: the local words alone. */
  models?: Models
  /** What agents keep between conversations; absent: nothing. */
  memories?: Memories
  /** Absent: nothing is proposed. */
  proposals?: Pick<Proposals, 'propose'>
  /** Where the spans of what the agents use go besides the log. */
  spans?: SpanSink
  /** Null for one that is not, or no longer, there. */
  incidentOf: (tenant: string, id: string) => Promise<Incident | null>
}

/**
 * What the agents do about an incident: Triage says how bad it is, Diagnostics looks, Historian compares, Reporter writes and answers. Every
 * figure and name in their words comes from code; a turn that is repeated does the same.
 */
export class IncidentTeam implements Service {
  readonly name = 'incident-team'
  readonly speakers: ReadonlyMap<AgentRole, Speaker>
  readonly evidence: EvidenceStore
  readonly summaries: SummaryStore
  readonly memory: HistorianMemory | undefined
  readonly #investigations: InvestigationStore
  readonly #claims
  readonly #options: IncidentTeamOptions
  /** Who reads much: so many at a time that each is done in its time, instead of none. */
  readonly #lanes: Lanes

  constructor(options: IncidentTeamOptions) {
    this.#options = options
    this.#lanes = new Lanes(options.config.looksInFlightMax)
    this.evidence = new EvidenceStore(options)
    this.summaries = new SummaryStore(options)
    this.#investigations = new InvestigationStore(options)
    this.#claims = options.metrics.counter('ai_claims_total', 'Claims of drafts, by what the verifier said of the draft', [
      'status',
      'author',
    ] as const)
    const { memories } = options
    this.memory =
      memories === undefined ? undefined : new HistorianMemory({ ...options, memories, evidence: this.evidence, summaries: this.summaries })
    const speaker = (speak: (turn: Turn, incident: Incident) => Promise<TurnResult>): Speaker => ({
      speak: (turn) => this.#speak(turn, speak),
    })
    this.speakers = new Map<AgentRole, Speaker>([
      ['watchdog', speaker((turn, incident) => this.#watch(turn, incident))],
      ['triage', speaker(async (_turn, incident) => this.#triage(incident))],
      ['diagnostics', speaker((turn, incident) => this.#diagnose(turn, incident))],
      ['historian', speaker((turn, incident) => this.#compare(turn, incident))],
      ['reporter', speaker((turn, incident) => this.#report(turn, incident))],
      ['dispatcher', speaker((turn, incident) => this.#dispatch(turn, incident))],
    ])
  }

  async start(): Promise<void> {
    for (const store of [this.evidence, this.summaries, this.#investigations]) await store.start()
  }
  async stop(): Promise<void> {
    for (const store of [this.evidence, this.summaries, this.#investigations]) await store.stop()
  }

  /** Removes what was found and written about an incident whose conversation is removed. */
  async forget(tenant: string, incident: string): Promise<void> {
    for (const store of [this.evidence, this.summaries, this.#investigations]) await store.forget(tenant, incident)
  }

  async #speak(turn: Turn, speak: (turn: Turn, incident: Incident) => Promise<TurnResult>): Promise<TurnResult> {
    const { tenant, incidentId } = turn.conversation
    const incident = incidentId === null ? null : await this.#options.incidentOf(tenant, incidentId)
    if (incident === null) {
      return said({
        content: 'There is no incident here that I could look at.',
        kind: turn.question === null ? 'message' : 'answer',
        to: turn.question?.from ?? null,
      })
    }
    // Whoever is asked answers; the digest that was published says what there is to say.
    if (turn.question !== null) return this.#answer(incident, turn.question)
    return speak(turn, incident)
  }

  #triage({ id, severity, level, state }: Incident): TurnResult {
    const where = {
      device: 'one device',
      group: 'several devices of one type and place',
      cause: 'devices across the fleet, with one cause',
    }[level]
    const now = state === 'resolved' ? ' It is over already.' : ''
    return said({
      content: `A ${severity} incident of ${where}.${now} Diagnostics looks at it now.`,
      kind: 'finding',
      evidence: [`incident:${id}`],
    })
  }

  /** What is wrong with the platform itself, trouble by trouble, each with the evidence of it. */
  async #watch(turn: Turn, { tenant, id }: Incident): Promise<TurnResult> {
    const { sources, clock, config } = this.#options
    const asOf = clock.nowMs()
    const { items, truncated } = await sources.alerts({ tenant, incident: id, limit: config.alertsMax })
    const reader = new ReadingsReader({ sources, tenant, asOf, limit: config.readingsMax })
    const tools = this.#tools(turn)
    const seen: SeenTrouble[] = []
    for (const { id: trouble, metric: part, state } of items.slice(-TROUBLES_MAX)) {
      const query = { kind: 'pipeline_health' as const, incident: id, trouble }
      seen.push({ part, isOver: state === 'resolved', evidence: await measured(query, { tenant, asOf, sources, reader, config }, tools) })
    }
    const evidence = seen.map((each) => each.evidence)
    await this.evidence.keep(tenant, id, evidence)
    return said({
      content: watchdogWords(seen, truncated || items.length > TROUBLES_MAX),
      kind: 'finding',
      evidence: evidence.map((one) => one.id),
    })
  }

  async #diagnose(turn: Turn, incident: Incident): Promise<TurnResult> {
    const investigation = await this.#investigate(turn, incident)
    if (isKnown(turn, investigation)) return { status: 'nothing-to-say' }
    const { checks, causes, evidence } = investigation
    const found = checks.filter(({ interesting }) => interesting).map(({ name }) => name)
    const failed = checks.filter(({ status }) => status === 'error').map(({ name }) => name)
    const lines = [
      found.length === 0 ? 'No check found anything unusual beyond the alert itself.' : `Checks that found something: ${found.join(', ')}.`,
      ...(failed.length === 0 ? [] : [`Could not be checked: ${failed.join(', ')}.`]),
      `Possible causes: ${causes.map(({ code, level }) => `${code} (${level})`).join(', ')}.`,
    ]
    return said({
      content: lines.join('\n'),
      kind: 'finding',
      evidence: Object.values(evidence).map(({ id }) => id),
      causes: causes.map(({ code }) => code),
    })
  }

  async #compare(turn: Turn, incident: Incident): Promise<TurnResult> {
    const { history, evidence, causes } = await this.#latest(turn, incident)
    const ids = Object.values(evidence)
      .filter(({ kind }) => kind === 'history')
      .map(({ id }) => id)
    const similar = history.similar.map(({ incident: id, level, cause }) => `${id} (${level}: ${cause})`)
    const codes = causes.map(({ code }) => code)
    const recalled = (await this.memory?.recall(incident, codes)) ?? { lines: [], evidence: [] }
    const before =
      similar.length === 0
        ? 'No incident of before was like this one.'
        : `Incidents of before that were like this one: ${similar.join(', ')}.`
    const content = [before, ...recalled.lines].join('\n')
    return said({ content, kind: 'finding', evidence: [...ids, ...recalled.evidence] })
  }

  async #report(turn: Turn, incident: Incident): Promise<TurnResult> {
    const investigation = await this.#latest(turn, incident)
    if (isKnown(turn, investigation)) return this.#reword(turn, incident, investigation)
    const revision = turn.conversation.revision + 1
    const before = await this.summaries.get(incident.tenant, incident.id, revision)
    if (before !== null) return { ...digestOf(before, turn), again: await this.#mayReword(turn) }
    const first = await this.#pass(investigation, turn)
    // Readings that were on their way to the store when it was looked at are there now: once more, from the beginning.
    const answer = first.status === 'passed' ? first : await this.#pass(await this.#investigate(turn, incident), turn)
    if (answer.status === 'refused') {
      turn.log.error({ incident: incident.id, verdict: answer.verdict }, 'the digest did not verify and is not published')
      return { status: 'failed', why: 'the digest did not verify' }
    }
    if (turn.signal.aborted) return { status: 'failed', why: 'the turn is over' }
    await this.summaries.publish(answer.summary, revision, incident.openedAt)
    const published = await this.summaries.get(incident.tenant, incident.id, revision)
    if (published === null) return { status: 'failed', why: 'the digest is gone' }
    return { ...digestOf(published, turn), again: await this.#mayReword(turn) }
  }

  /** In a storm a model words the most important incidents alone. */
  async #mayReword({ isAmongTop }: Turn): Promise<boolean> {
    const { models } = this.#options
    const brain = models?.configured ?? null
    if (models === undefined || brain === null) return false
    if (models.storm === undefined || isAmongTop === undefined) return true
    if (await isAmongTop(models.storm.incidentsMax, models.storm.windowMs)) return true
    models.fellBack(brain.kind, 'storm')
    return false
  }

  /** The local digest is out; a model's words for the same evidence are the next revision, if they verify. */
  async #reword(turn: Turn, incident: Incident, investigation: Investigation): Promise<TurnResult> {
    const { models, sources, config, clock } = this.#options
    const { revision } = turn.conversation
    const newest = await this.summaries.newest(incident.tenant, incident.id)
    if (models === undefined || newest === null) return { status: 'nothing-to-say' }
    // A turn before this one published it and was not heard.
    if (newest.revision === revision + 1 && newest.summary.author.kind === 'llm') return digestOf(newest, turn)
    if (newest.revision !== revision || newest.summary.author.kind === 'llm' || newest.isWordingSettled === true)
      return { status: 'nothing-to-say' }
    if (!(await this.#mayReword(turn))) return { status: 'nothing-to-say' }
    const judged = (answer: GateAnswer): void => this.#judged(answer, investigation, 'llm')
    const reworded = await reword(turn, investigation, { models, sources, config, clock, judged, tools: this.#tools(turn) })
    if (turn.signal.aborted) return { status: 'nothing-to-say' }
    if (reworded === null) {
      // An incident that comes and goes asks no model again and again what it was asked already.
      await this.summaries.settleWording(incident.tenant, incident.id, revision)
      return { status: 'nothing-to-say' }
    }
    await this.summaries.publish(reworded.summary, revision + 1, incident.openedAt, reworded.tokens)
    const published = await this.summaries.get(incident.tenant, incident.id, revision + 1)
    return published === null
      ? { status: 'failed', why: 'the digest is gone' }
      : { ...digestOf(published, turn), tokens: reworded.outputTokens }
  }

  /** Proposes what the causes allow, to people; a failure here costs nobody the digest. */
  async #dispatch(turn: Turn, incident: Incident): Promise<TurnResult> {
    const { proposals } = this.#options
    const investigation = await this.#investigations.get(incident.tenant, incident.id)
    if (proposals === undefined || investigation === null || incident.state === 'resolved') return { status: 'nothing-to-say' }
    try {
      const made = await proposals.propose(incident, turn.conversation.id, turn.participant, groundsOf(investigation))
      if (made.length === 0) return { status: 'nothing-to-say' }
      const { content, evidence } = proposedWords(made)
      return said({ content, kind: 'finding', evidence })
    } catch (error) {
      turn.log.warn({ incident: incident.id, error: describeError(error) }, 'nothing could be proposed')
      return { status: 'nothing-to-say' }
    }
  }

  async #pass(investigation: Investigation, turn: Turn): Promise<GateAnswer> {
    const { sources, clock, config } = this.#options
    const { signal } = turn
    const options = { investigation, sources, author: { kind: 'local' }, config, clock, signal, tools: this.#tools(turn) } as const
    const answer = await this.#lanes.run(() => passGate(report(investigation), options), signal)
    this.#judged(answer, investigation, 'local')
    return answer
  }

  #judged({ status }: GateAnswer, { claims }: Investigation, author: 'local' | 'llm'): void {
    this.#claims.inc({ status: status === 'passed' ? 'supported' : 'refused', author }, claims.length)
  }

  async #answer(incident: Incident, question: NonNullable<Turn['question']>): Promise<TurnResult> {
    const newest = await this.summaries.newest(incident.tenant, incident.id)
    const { content, evidence } = answerFrom(newest?.summary ?? null, question.content)
    return said({ content, kind: 'answer', to: question.from, evidence, isPrivate: question.isPrivate })
  }

  /** What Diagnostics found; looked at anew where it found nothing. */
  async #latest(turn: Turn, incident: Incident): Promise<Investigation> {
    return (await this.#investigations.get(incident.tenant, incident.id)) ?? this.#investigate(turn, incident)
  }

  async #investigate(turn: Turn, incident: Incident): Promise<Investigation> {
    const { sources, clock, config } = this.#options
    const { signal, log } = turn
    const options = { config, log, tools: this.#tools(turn) }
    const investigation = await this.#lanes.run(() => investigate(incident, sources, clock, signal, options), signal)
    await this.evidence.keep(incident.tenant, incident.id, Object.values(investigation.evidence))
    await this.#investigations.put(investigation)
    return investigation
  }

  /** What is used in this turn, below the span of what it says. */
  #tools({ conversation, agent, epoch, log }: Turn): Tools {
    const { clock, spans: sink } = this.#options
    const { id, correlationId } = conversation
    return ToolSpans.below(responseSpan(id, epoch), { clock, log, sink, correlationId, conversation: id, agent })
  }
}

/** Nothing that matters has changed since the digest that is published. */
function isKnown({ conversation }: Turn, { evidenceHash }: Investigation): boolean {
  return conversation.revision > 0 && conversation.evidenceHash === evidenceHash
}

function said(words: Partial<Words> & Pick<Words, 'content' | 'kind'>): TurnResult {
  const plain: Omit<Words, 'content' | 'kind'> = {
    to: null,
    isPrivate: false,
    author: LOCAL,
    claims: [],
    evidence: [],
    causes: [],
    control: null,
  }
  return { status: 'said', words: { ...plain, ...words } }
}

function digestOf(
  { summary, revision, publishedAt, tokens = null }: SummaryDocument,
  { conversation }: Turn,
): Extract<TurnResult, { status: 'said' }> {
  const { incident, tenant, headline, sections, level, causes, label, evidenceHash, evidence, claims } = summary
  const author = namedAuthor(summary.author)
  const ids = Object.values(evidence)
  const digest: Digest = {
    ...{
      incident,
      tenant,
      conversation: conversation.id,
      revision,
      publishedAt,
      headline,
      sections,
      level,
      ...{ label, author },
      evidenceHash,
      evidence: ids,
    },
    causes: causes.map((cause) => ({ code: cause.code, level: cause.level })),
  }
  const content = [headline, ...sections.flatMap(({ title, lines }) => ['', title, ...lines]), '', label].join('\n')
  const words: Words = {
    ...{ to: null, kind: 'digest', content, isPrivate: false, author, control: null },
    ...{ claims: claims.map(({ id }) => id), evidence: ids, causes: causes.map(({ code }) => code) },
    ...(author.kind === 'model' ? { metadata: { tokens, model: author.model } } : {}),
  }
  return { status: 'said', words, digest }
}
