import type { AuditTrail } from '../contracts/audit.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Random } from '../kernel/random.ts'
import type { Service } from '../kernel/service.ts'
import type { SpanSink } from '../kernel/spans.ts'
import type { Clock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { AttentionStates } from './attention/attention-states.ts'
import { BusKey } from './bus/bus-key.ts'
import type { AgentsConfig } from './config.ts'
import { ConversationService } from './conversation/conversation-service.ts'
import { ConversationStore } from './conversation/conversation-store.ts'
import type { Limits } from './conversation/moderation.ts'
import type { Incident } from '../contracts/incident.ts'
import { EventDesk } from './events/event-desk.ts'
import { Events } from './events/events.ts'
import { reactionTo } from './events/reactions.ts'
import { IncidentIntake } from './intake/incident-intake.ts'
import type { Memories } from './memory/memories.ts'
import { MemoryKeeper } from './memory/memory-keeper.ts'
import type { ProactiveConfig } from './proactive/config.ts'
import type { DomainFacts } from './proactive/domain-facts.ts'
import { ProactiveEngine } from './proactive/engine.ts'
import { Firings } from './proactive/firings.ts'
import { ProactiveRules } from './proactive/rules-service.ts'
import { Roster } from './roster/roster.ts'
import type { IncidentTeam } from './team/incident-team.ts'
import type { Speaker, Turn, TurnResult } from './turns/speaker.ts'
import { TurnWorker } from './turns/turn-worker.ts'

export interface AgentsOptions {
  documents: Documents
  eventLog: EventLog
  auditTrail: AuditTrail
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AgentsConfig
  /** Of this process, the same after every start. */
  processId: string
  /** What the agents do. */
  team: IncidentTeam
  /** What they keep between conversations. */
  memories: Memories
  incidentOf: (tenant: string, id: string) => Promise<Incident | null>
  /** What they look for by themselves; without facts, nothing. */
  proactive: { config: ProactiveConfig; facts?: DomainFacts }
  /** False where conversations are only looked at and taken part in by people: turns are another process's. */
  works?: boolean
  /** Where the spans of turns go besides the log. */
  spans?: SpanSink
}

/** An agent of a role for which nothing is done here. */
const NOBODY: TurnResult = { status: 'failed', why: 'nobody speaks for it' }

/** Everything about agents: incidents in, conversations and digests out. The documents and the log must be started before it. */
export class Agents implements Service {
  readonly name = 'agents'
  readonly conversations: ConversationService
  readonly roster: Roster
  readonly attention: AttentionStates
  readonly events: EventDesk
  readonly team: IncidentTeam
  readonly memories: Memories
  readonly proactive: { rules: ProactiveRules; firings: Firings }
  readonly #parts: Service[]

  constructor(options: AgentsOptions) {
    const { config, team, processId: worker, works = true } = options
    this.team = team
    const limits = limitsOf(config)
    const key = new BusKey(options)
    const store = new ConversationStore({ ...options, key })
    this.roster = new Roster({ ...options, key })
    this.conversations = new ConversationService({ ...options, store, roster: this.roster, limits })
    this.attention = new AttentionStates({ ...options, key, worker })
    const { config: proactiveConfig, facts } = options.proactive
    const rules = new ProactiveRules({ ...options, config: proactiveConfig })
    const firings = new Firings({ ...options, config: proactiveConfig })
    this.proactive = { rules, firings }
    this.memories = options.memories
    const events = new Events({ ...options, key, works, react: reactionTo(this) })
    this.events = new EventDesk({ ...options, key, events, conversations: this.conversations })
    this.#parts = [key, store, this.roster, this.attention, this.memories, team, rules, firings, events]
    if (!works) return
    const engine =
      facts === undefined
        ? null
        : new ProactiveEngine({ ...options, ...this.proactive, config: proactiveConfig, facts, store, roster: this.roster, limits })
    const speakerOf = async (tenant: string, agent: string): Promise<Speaker | undefined> => {
      const { role, status } = await this.roster.get(tenant, agent)
      if (status === 'retired') return { speak: (turn) => this.#replaced(tenant, turn) }
      const speaker = team.speakers.get(role)
      return { speak: async (turn) => (await engine?.speak(turn)) ?? (await speaker?.speak(turn)) ?? NOBODY }
    }
    const forgetIncident = (tenant: string, incident: string): Promise<void> => team.forget(tenant, incident)
    const turns = new TurnWorker({
      ...options,
      store,
      roster: this.roster,
      attention: this.attention,
      speakerOf,
      forgetIncident,
      worker,
      limits,
    })
    this.#parts.push(
      turns,
      new IncidentIntake({
        ...options,
        store,
        roster: this.roster,
        limits,
        open: (conversation) => turns.open(conversation),
        onResolved: async (incident) => team.memory?.remember(incident),
      }),
    )
    this.#parts.push(new MemoryKeeper({ ...options, key }))
    if (engine !== null) this.#parts.push(engine)
  }

  /** Plans name agents of the beginning: one that was retired since has no turn, and another of its role has it. */
  async #replaced(tenant: string, { conversation, agent }: Turn): Promise<TurnResult> {
    await this.conversations.replaceRetired(tenant, conversation.id, agent)
    return { status: 'nothing-to-say' }
  }

  async start(): Promise<void> {
    for (const part of this.#parts) await part.start()
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.toReversed()) await part.stop()
  }
}

/** The bounds of conversations as the steps want them. */
export function limitsOf(config: AgentsConfig): Limits {
  const { floorRequestsMax: requestsMax, floorLeaseMs: leaseMs, floorJumpTickets: jumpTickets } = config
  return { ...config, requestsMax, leaseMs, jumpTickets }
}
