import { authorise, type Principal } from '../../contracts/authorisation.ts'
import { InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { BusKey } from '../bus/bus-key.ts'
import type { AgentsConfig } from '../config.ts'
import type { ConversationService } from '../conversation/conversation-service.ts'
import { agentDocumentId } from '../roster/agent-document.ts'
import type { DeadLetter, DeadLetterPlace, WholeDeadLetter } from './dead-letters.ts'
import type { Events } from './events.ts'
import { agentFrom, conversationFrom, type AgentHistory, type ConversationHistory } from './history.ts'
import type { JournalEntry, JournalQuery } from './journal.ts'
import { replay, type Replayed, type ReplayPlace } from './replay.ts'

/** Events of one stream that are folded into its state at most: a conversation of that many has long been looked at otherwise. */
const FOLD_EVENTS_MAX = 50_000
const FOLD_PAGE = 1_000

/** Whose events: of one conversation, or of one agent. */
export type Whose = { conversation: string } | { agent: string }

export interface EventDeskOptions {
  events: Pick<Events, 'journal' | 'deadLetters'>
  conversations: Pick<ConversationService, 'get'>
  eventLog: EventLog
  key: BusKey
  config: Pick<AgentsConfig, 'replayRecordsMax'>
}

/** The journal as people see it, within their tenant and their rights: who may not read a conversation may not read its events. */
export class EventDesk {
  readonly #options: EventDeskOptions

  constructor(options: EventDeskOptions) {
    this.#options = options
  }

  /** In their order. */
  async of(principal: Principal, whose: Whose, afterSequence: number, limit: number): Promise<JournalEntry[]> {
    const stream = await this.#streamOf(principal, whose)
    return this.#options.events.journal.ofStream({ tenant: principal.tenant, stream }, afterSequence, limit)
  }

  /** Of everything, newest first: only for who may replay them too. */
  list(principal: Principal, query: Omit<JournalQuery, 'tenant'>): Promise<JournalEntry[]> {
    const { tenant } = principal
    if (!authorise(principal, 'write', { tenant, kind: 'events' })) {
      throw new InvalidInputError('name a conversation or an agent: all events are read by who may replay them')
    }
    return this.#options.events.journal.list({ ...query, tenant })
  }

  /** What it was at a time, from its events alone. Throws NotFoundError where the journal does not reach back to its beginning. */
  async stateAt(
    principal: Principal,
    whose: Whose,
    atMs: number,
  ): Promise<{ sequence: number; conversation: ConversationHistory | null; agent: AgentHistory | null }> {
    const stream = await this.#streamOf(principal, whose)
    const past = await this.#upTo(principal.tenant, stream, atMs)
    const conversation = 'conversation' in whose ? conversationFrom(past) : null
    const agent = 'agent' in whose ? agentFrom(past) : null
    const last = past.at(-1)
    if (last === undefined || (conversation === null && agent === null)) {
      throw new NotFoundError(`the journal does not say what ${stream} was at ${new Date(atMs).toISOString()}`)
    }
    return { sequence: last.sequence, conversation, agent }
  }

  /** See `replay`. */
  replay(fromMs: number, place: ReplayPlace | undefined): Promise<Replayed> {
    const { events, eventLog, key, config } = this.#options
    return replay({ eventLog, key, journal: events.journal, fromMs, place, recordsMax: config.replayRecordsMax })
  }

  deadLetters(
    { tenant }: Principal,
    query: { limit: number; topic?: string | undefined; place?: DeadLetterPlace | undefined },
  ): Promise<{ items: DeadLetter[]; next: DeadLetterPlace | null }> {
    return this.#options.events.deadLetters.list(tenant, query)
  }

  deadLetter({ tenant }: Principal, id: string): Promise<WholeDeadLetter> {
    return this.#options.events.deadLetters.get(tenant, id)
  }

  replayDeadLetter({ tenant }: Principal, id: string): Promise<DeadLetter> {
    return this.#options.events.deadLetters.replay(tenant, id)
  }

  replayDeadLetters({ tenant }: Principal, topic: string | undefined): Promise<number> {
    return this.#options.events.deadLetters.replayAll(tenant, topic)
  }

  async #streamOf(principal: Principal, whose: Whose): Promise<string> {
    if ('agent' in whose) return `agent:${agentDocumentId(principal.tenant, whose.agent)}`
    await this.#options.conversations.get(principal, whose.conversation)
    return `conversation:${whose.conversation}`
  }

  async #upTo(tenant: string, stream: string, atMs: number): Promise<JournalEntry[]> {
    const { journal } = this.#options.events
    const past: JournalEntry[] = []
    for (let after = 0; ;) {
      const page = await journal.ofStream({ tenant, stream }, after, FOLD_PAGE)
      const until = page.findIndex(({ at }) => at > atMs)
      past.push(...(until === -1 ? page : page.slice(0, until)))
      if (until !== -1 || page.length < FOLD_PAGE) return past
      if (past.length >= FOLD_EVENTS_MAX)
        throw new InvalidInputError(`${stream} has more than ${FOLD_EVENTS_MAX} events: ask for an earlier time`)
      after = page.at(-1)?.sequence ?? after
    }
  }
}
