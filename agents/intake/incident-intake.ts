import { INCIDENT, IncidentChangeSchema, isIncidentNoticed, type Incident, type IncidentChange } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { describeError, FleetpulseError, isSealed } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { mapBounded } from '../../kernel/map-bounded.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import { tellSpan } from '../../kernel/spans.ts'
import type { Clock } from '../../kernel/time.ts'
import { BatchLoop } from '../../storage/event-log/batch-loop.ts'
import type { EventLog, LogRecord, TopicMessages } from '../../storage/event-log/event-log.ts'
import type { AgentsConfig } from '../config.ts'
import type { ConversationDocument, StoredConversation } from '../conversation/conversation-document.ts'
import type { ConversationStore } from '../conversation/conversation-store.ts'
import { follow, open } from '../conversation/lifecycle.ts'
import { DISPATCHER, type Limits } from '../conversation/moderation.ts'
import type { Roster } from '../roster/roster.ts'
import { conversationSpan } from '../turns/turn-spans.ts'
import { plansOf } from '../roster/team.ts'

const checkChange = compileSchema(IncidentChangeSchema)
/** Conversations opened or changed at a time. */
const WRITES_IN_FLIGHT_MAX = 16
/** Changes after which an incident is looked at anew. */
const NEWS: ReadonlySet<IncidentChange['change']> = new Set(['opened', 'announced', 'reopened', 'severity-changed'])

export interface IncidentIntakeOptions {
  eventLog: EventLog
  store: ConversationStore
  roster: Roster
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AgentsConfig
  limits: Limits
  /** Stores a new conversation, and may begin its first turn with that; null: it is there already. */
  open: (conversation: ConversationDocument) => Promise<StoredConversation | null>
  /** Told of each incident that is over, again where a batch comes again. */
  onResolved?: (incident: Incident) => Promise<void>
}

/**
 * Consumes `alerts` as group `conversations`: an incident that people are told of has one conversation, which bears its id. Every step does
 * the same when it is repeated. What cannot be read is the webhooks' to set aside: they read the topic too.
 */
export class IncidentIntake implements Service {
  readonly name = 'incident-intake'
  readonly #options: IncidentIntakeOptions
  readonly #loop: BatchLoop
  readonly #opened

  constructor(options: IncidentIntakeOptions) {
    this.#options = options
    const { eventLog, clock, random, log, config, metrics } = options
    this.#opened = metrics.counter('agents_conversations_opened_total', 'Conversations about incidents opened')
    this.#loop = new BatchLoop({
      ...{ eventLog, clock, random, log },
      name: this.name,
      group: 'conversations',
      topic: TOPICS.alerts,
      pace: config,
      handle: (records) => this.#handle(records),
    })
  }

  start(): Promise<void> {
    return this.#loop.start()
  }
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #handle(records: readonly LogRecord[]): Promise<TopicMessages[]> {
    const takenAt = this.#options.clock.nowMs()
    const byIncident = new Map<string, IncidentChange[]>()
    for (const record of records) {
      const change = decode(record)
      if (change === undefined || !isIncidentNoticed(change)) continue
      byIncident.set(change.incident.id, [...(byIncident.get(change.incident.id) ?? []), change])
    }
    await mapBounded([...byIncident.values()], WRITES_IN_FLIGHT_MAX, (changes) =>
      this.#take(changes, takenAt).catch((error: unknown) => this.#passOver(changes, error)),
    )
    return []
  }

  /** A conversation that does not open holds up no other incident; anything else is tried again. */
  #passOver([first]: readonly IncidentChange[], error: unknown): void {
    if (!isSealed(error)) throw error
    this.#options.log.error(
      { incident: first?.incident.id, error: describeError(error) },
      'an incident is not talked about: its conversation does not open',
    )
  }

  async #take(changes: readonly IncidentChange[], takenAt: number): Promise<void> {
    const { store, roster, clock, log, limits } = this.#options
    const last = changes.at(-1) as IncidentChange
    const { id, tenant, severity, devices, state, cause } = last.incident
    await roster.ensureTeam(tenant)
    if ((await store.collection.get(id)) === null) {
      // What is over already, and was not talked about, needs no talk: a restart after a long while reads the past.
      if (state === 'resolved') return
      const opened = await this.#options.open(open(openingOf(last), takenAt, limits))
      if (opened !== null) {
        this.#opened.inc()
        const { correlationId } = opened
        const span = { name: 'conversation.start', correlationId, spanId: conversationSpan(id), startedAt: takenAt, endedAt: clock.nowMs() }
        tellSpan(log, { ...span, attributes: { 'gen_ai.conversation.id': id, 'incident.severity': severity } })
        return
      }
    }
    const step = (document: ConversationDocument): ConversationDocument => {
      // What was taken already and comes again is no news.
      const isNew = changes.some(({ change, sequence }) => NEWS.has(change) && sequence > document.incidentSequence)
      const change = { sequence: last.sequence, severity, deviceCount: devices.length, isResolved: state === 'resolved', isNew }
      return follow(document, change, plansOf(cause), clock.nowMs(), limits)
    }
    await store.change({ id, tenant }, step).catch(unlessGone)
    for (const { change, incident } of changes) if (change === 'resolved') await this.#options.onResolved?.(incident)
  }
}

function openingOf({ sequence, incident }: IncidentChange): Parameters<typeof open>[0] {
  const { id, tenant, title, severity, devices, place, correlationId, cause } = incident
  const { first: plan } = plansOf(cause)
  return {
    ...{ id, tenant, chatType: 'group', mode: 'protocol', title, correlationId },
    createdBy: cause === 'platform' ? 'agent:watchdog' : 'system',
    participants: [...plan, DISPATCHER].map((agent) => ({ id: agent, role: 'member' })),
    incident: { id, sequence, severity, deviceCount: devices.length, site: place ?? '' },
    plan,
  }
}

function decode(record: LogRecord): IncidentChange | undefined {
  if (record.schema !== INCIDENT) return undefined
  try {
    const result = checkChange(JSON.parse(Buffer.from(record.value).toString('utf8')))
    return result.status === 'valid' ? result.value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Removed between the look and the change: its retention is over. */
function unlessGone(error: unknown): void {
  if (!(error instanceof FleetpulseError) || error.code !== 'NOT_FOUND') throw error
}
