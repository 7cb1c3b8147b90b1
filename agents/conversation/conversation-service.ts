import type { Severity } from '../../contracts/alert.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import type { ChatRole, ChatType, Conversation, ConversationState, Message, MessageKind } from '../../contracts/conversation.ts'
import { AccessError, ConflictError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Filter } from '../../storage/documents/documents.ts'
import { plainText } from '../access/plain-text.ts'
import { defaultRole, mayIn, participantOf, roleIn, type ChatAction } from '../access/rights.ts'
import { tell } from '../bus/outbox.ts'
import type { AgentsConfig } from '../config.ts'
import { RENEWAL_PLAN } from '../roster/team.ts'
import { replaceRetired } from './standing-in.ts'
import type { Roster } from '../roster/roster.ts'
import { conversationOf, isErased, present, type ConversationDocument, type StoredConversation } from './conversation-document.ts'
import { findConversations } from './conversation-search.ts'
import type { ConversationStore } from './conversation-store.ts'
import { receive, statusOf } from './receipts.ts'
import { ask, end, erase, join, leave, open, renew, reopen } from './lifecycle.ts'
import type { Limits } from './moderation.ts'

const PAGE_ITEMS_DEFAULT = 50
const TITLE_LENGTH_MAX = 200
const SEARCH_LENGTH_MAX = 200
const ID = /^[0-9A-Za-z_-]{1,64}$/

export type ConversationView = Conversation & { version: number }

export interface ConversationQuery {
  state?: ConversationState
  severity?: Severity
  participant?: string
  /** Words of its title, or of what was said in it. */
  search?: string
  /** Begun at this time or later, and before this one, epoch ms. */
  from?: number
  until?: number
  /** Only those about one of these incidents. */
  incidents?: readonly string[]
  limit?: number
  /** `next` of the last page. */
  cursor?: string
}

export interface ConversationServiceOptions {
  store: ConversationStore
  roster: Roster
  clock: Clock
  config: AgentsConfig
  limits: Limits
}

/** Conversations as people see them and take part in them, within their tenant and their rights. */
export class ConversationService {
  readonly #options: ConversationServiceOptions

  constructor(options: ConversationServiceOptions) {
    this.#options = options
  }

  get pageItemsMax(): number {
    return this.#options.config.pageItemsMax
  }

  /**
   * Newest first; private ones only for those who take part. With `search`, agents.searchScanMax conversations are looked through at a time:
   * a page may then hold few items, or none, and go on all the same.
   */
  async list(principal: Principal, query: ConversationQuery = {}): Promise<{ items: ConversationView[]; next: string | null }> {
    const { search, cursor, limit = PAGE_ITEMS_DEFAULT } = query
    if (!Number.isInteger(limit) || limit < 1 || limit > this.pageItemsMax) throw invalid('limit', `must be 1 to ${this.pageItemsMax}`)
    if (cursor !== undefined && !ID.test(cursor)) throw invalid('cursor', 'is not one that a page answered')
    if ((search?.length ?? 0) > SEARCH_LENGTH_MAX) throw invalid('search', `is longer than ${SEARCH_LENGTH_MAX} characters`)
    const { store, config } = this.#options
    const ask = { filter: filterOf(principal, query), me: participantOf(principal), search: search?.trim() ?? '', cursor, limit }
    const found = await findConversations(store, ask, config.searchScanMax)
    return { items: found.items.map((each) => this.#viewOf(each)), next: found.next }
  }

  /** Null where there is no such conversation. It never changes. */
  async chatTypeOf(tenant: string, id: string): Promise<ChatType | null> {
    const found = await this.#options.store.collection.get(id)
    return found === null || found.tenant !== tenant ? null : found.chatType
  }

  /** Tells those who watch that a revision of its digest was rated. The rating itself is in the digest. */
  async tellRated(principal: Principal, incident: string, rated: { revision: number; stars: number; verdict: string }): Promise<void> {
    const { store, clock } = this.#options
    const data = { chatId: incident, incident, ...rated, by: participantOf(principal) }
    await store
      .change({ id: incident, tenant: principal.tenant }, (conversation) => tell(conversation, 'SummaryRated', data, clock.nowMs()))
      .catch((error: unknown) => {
        // A digest may outlive its conversation by a moment.
        if (!(error instanceof NotFoundError)) throw error
      })
  }

  async get(principal: Principal, id: string): Promise<ConversationView> {
    return this.#viewOf(await this.#read(principal, id, 'read'))
  }

  /** By place, oldest first, without what others said in private. */
  async messages(principal: Principal, id: string, afterSeq: number, limit: number): Promise<Message[]> {
    const conversation = await this.#read(principal, id, 'read')
    const found = await this.#options.store.messagesAfter(conversation, afterSeq, Math.min(limit, this.pageItemsMax))
    const me = participantOf(principal)
    return found.map((message) => {
      const isOthers = message.isPrivate && message.from !== me && message.to !== me
      return { ...message, content: isOthers ? '' : message.content, status: statusOf(message, conversation.participants) }
    })
  }

  /** Somebody got, or has read, everything up to a place; who only looks on leaves no mark. */
  receive(principal: Principal, id: string, upTo: { kind: 'delivered' | 'read'; seq: number }): Promise<ConversationView> {
    return this.#change(principal, id, 'read', (conversation, nowMs) => receive(conversation, participantOf(principal), upTo, nowMs))
  }

  /** The incident of the conversation in which this message was said; null where there is none that may be read. */
  async incidentOfMessage(principal: Principal, message: string): Promise<string | null> {
    const found = await this.#options.store.messages.get(message)
    if (found === null || found.tenant !== principal.tenant) return null
    return (await this.#read(principal, found.conversation, 'read')).incidentId
  }

  /** Between people and agents: `private` has exactly one agent. The agents talk in turn, beginning with the first. */
  async create(
    principal: Principal,
    asked: {
      title: string
      agents: readonly string[]
      chatType: 'private' | 'group'
      message?: string | undefined
      discuss?: boolean | undefined
      correlationId: string
    },
  ): Promise<ConversationView> {
    const { roster, store, clock, limits } = this.#options
    if (!mayIn(defaultRole(principal), 'speak')) throw forbidden(principal, 'speak')
    const title = plainText(asked.title, TITLE_LENGTH_MAX).trim()
    if (title === '') throw invalid('title', 'must not be empty')
    if (asked.agents.length === 0 || asked.agents.length >= limits.participantsMax)
      throw invalid('agents', 'must name at least one agent, and no more than fit')
    if (asked.chatType === 'private' && asked.agents.length !== 1) throw invalid('agents', 'of a private conversation is one')
    await roster.ensureTeam(principal.tenant)
    const agents = [...new Set(asked.agents)]
    for (const agent of agents) {
      if ((await roster.get(principal.tenant, agent)).status === 'retired') throw new ConflictError(`agent ${agent} is retired`)
    }
    const nowMs = clock.nowMs()
    const id = newId(nowMs)
    const me = participantOf(principal)
    const member = (agent: string): { id: string; role: ChatRole } => ({ id: `agent:${agent}`, role: 'member' })
    const opening = {
      ...{ id, tenant: principal.tenant, chatType: asked.chatType, title, createdBy: me, correlationId: asked.correlationId },
      mode: asked.discuss === true ? ('discussion' as const) : ('addressed' as const),
      participants: [{ id: me, role: 'owner' as const }, ...agents.map(member)],
    }
    const stored = await store.insert(id, open(opening, nowMs, limits))
    if (stored === null) throw new ConflictError('a conversation with this id is there already', { retryable: true })
    if (asked.message === undefined) return this.#viewOf(stored)
    return this.say(principal, id, {
      content: asked.message,
      kind: 'question',
      to: agents.length === 1 ? `agent:${agents[0]}` : null,
      isPrivate: asked.chatType === 'private',
    })
  }

  /** Takes part from now on; a closed conversation is taken up again. Changes nothing for who takes part already. */
  join(principal: Principal, id: string): Promise<ConversationView> {
    return this.#change(principal, id, 'join', (conversation, nowMs, limits) => {
      const role = roleIn(conversation, principal)
      if (role === null) throw forbidden(principal, 'join')
      const live =
        conversation.state === 'closed' && role !== 'guest'
          ? reopen(conversation, { mode: 'addressed', plan: [], by: participantOf(principal) }, nowMs, limits)
          : conversation
      const joined = join(live, participantOf(principal), role, nowMs, limits)
      if (joined === 'full') throw new LimitError(`agents.participantsMax (${limits.participantsMax}) take part already`)
      return joined
    })
  }

  leave(principal: Principal, id: string): Promise<ConversationView> {
    return this.#change(principal, id, 'read', (conversation, nowMs, limits) =>
      leave(conversation, participantOf(principal), nowMs, limits),
    )
  }

  /** Adds an agent, or takes one out. Who may not do that is not told which agents there are. */
  async invite(principal: Principal, id: string, agent: string): Promise<ConversationView> {
    await this.#read(principal, id, 'invite')
    const { status } = await this.#options.roster.get(principal.tenant, agent)
    if (status === 'retired') throw new ConflictError(`agent ${agent} is retired`)
    return this.#change(principal, id, 'invite', (conversation, nowMs, limits) => {
      if (conversation.state === 'closed') throw over(id)
      const joined = join(conversation, `agent:${agent}`, 'member', nowMs, limits)
      if (joined === 'full') throw new LimitError(`agents.participantsMax (${limits.participantsMax}) take part already`)
      return joined
    })
  }

  remove(principal: Principal, id: string, participant: string): Promise<ConversationView> {
    return this.#change(principal, id, 'remove', (conversation, nowMs, limits) => leave(conversation, participant, nowMs, limits))
  }

  /** Says something at the next boundary between turns, at once where nobody speaks; a question is answered by whom it is asked. */
  say(
    principal: Principal,
    id: string,
    said: { content: string; kind: Extract<MessageKind, 'message' | 'question' | 'statement'>; to: string | null; isPrivate?: boolean },
  ): Promise<ConversationView> {
    const { config } = this.#options
    const content = plainText(said.content, config.contentLengthMax).trim()
    if (content === '') throw invalid('content', 'must not be empty')
    return this.#change(principal, id, 'speak', (conversation, nowMs, limits) => {
      const me = participantOf(principal)
      if (conversation.state === 'closed') throw over(id)
      if (present(conversation, me) === undefined)
        throw new ConflictError(`you do not take part in conversation ${id}`, { remedy: 'Join it first.' })
      if (said.to !== null && present(conversation, said.to) === undefined) throw invalid('to', `${said.to} does not take part`)
      const author = { kind: 'human' as const, provider: null, model: null }
      const words = {
        to: said.to,
        kind: said.kind,
        content,
        isPrivate: said.isPrivate === true && said.to !== null,
        author,
        claims: [],
        evidence: [],
        causes: [],
        control: null,
      }
      const asked = ask(conversation, me, { reason: 'says', words }, nowMs, limits)
      if (asked.status === 'full' || asked.status === 'too-much') throw new LimitError(`too much waits in conversation ${id}`)
      return 'conversation' in asked ? asked.conversation : conversation
    })
  }

  /** The incident is looked at again; a new digest comes only where something that matters changed. */
  recheck(principal: Principal, id: string): Promise<ConversationView> {
    return this.#change(principal, id, 'speak', (conversation, nowMs, limits) => {
      if (conversation.incidentId === null) throw new ConflictError(`conversation ${id} is about no incident`)
      if (conversation.state === 'closed') throw over(id)
      return renew(conversation, RENEWAL_PLAN, participantOf(principal), nowMs, limits)
    })
  }

  /** A person ends it. */
  terminate(principal: Principal, id: string): Promise<ConversationView> {
    return this.#change(principal, id, 'terminate', (conversation, nowMs, limits) => end(conversation, 'user_interrupt', nowMs, limits))
  }

  /** Nobody may know of it any more. One about an incident goes with its retention. */
  erase(principal: Principal, id: string): Promise<ConversationView> {
    return this.#change(principal, id, 'delete', (conversation, nowMs, limits) => {
      if (conversation.incidentId !== null) throw new ConflictError(`conversation ${id} is the record of an incident`)
      return erase(conversation, nowMs, limits)
    })
  }

  /** Everything that this agent takes part in goes on without it, with another of its role where there is one. */
  async withdrawAgent(tenant: string, agent: string): Promise<number> {
    const { store, config } = this.#options
    const participants = { $elemMatch: { id: `agent:${agent}`, leftAt: null } }
    let count = 0
    for (;;) {
      const found = await store.collection.find({ tenant, state: { $ne: 'closed' }, participants }, { limit: config.dialoguesMax })
      for (const { id } of found) {
        await this.replaceRetired(tenant, id, agent)
      }
      count += found.length
      if (found.length < config.dialoguesMax) return count
    }
  }

  /** One conversation goes on without an agent that is retired. */
  async replaceRetired(tenant: string, id: string, agent: string): Promise<void> {
    const { store, roster, clock, limits } = this.#options
    const other = await roster.standInFor(tenant, agent)
    const step = (conversation: ConversationDocument): ConversationDocument =>
      replaceRetired(conversation, `agent:${agent}`, other === null ? null : `agent:${other}`, clock.nowMs(), limits)
    await store.change({ id, tenant }, step)
  }

  async #read(principal: Principal, id: string, action: ChatAction): Promise<StoredConversation> {
    const found = await this.#options.store.collection.get(id)
    if (found === null || found.tenant !== principal.tenant || isErased(found)) throw new NotFoundError(`there is no conversation ${id}`)
    const role = roleIn(found, principal)
    // Whoever may not know of a private conversation is told that there is none.
    if (!mayIn(role, 'read')) throw new NotFoundError(`there is no conversation ${id}`, { details: { denied: true } })
    if (!mayIn(role, action)) throw forbidden(principal, action)
    return found
  }

  async #change(
    principal: Principal,
    id: string,
    action: ChatAction,
    step: (conversation: ConversationDocument, nowMs: number, limits: Limits) => ConversationDocument,
  ): Promise<ConversationView> {
    const { store, clock, limits } = this.#options
    await this.#read(principal, id, action)
    const stored = await store.change({ id, tenant: principal.tenant }, (conversation) => step(conversation, clock.nowMs(), limits))
    return this.#viewOf(stored)
  }

  #viewOf(stored: StoredConversation): ConversationView {
    return { ...conversationOf(stored, this.#options.limits), version: stored.version }
  }
}

function filterOf(principal: Principal, { state, severity, participant, from, until, incidents }: ConversationQuery): Filter {
  const begun = { ...(from === undefined ? {} : { $gte: from }), ...(until === undefined ? {} : { $lt: until }) }
  return {
    tenant: principal.tenant,
    erasedAt: null,
    ...(state === undefined ? {} : { state }),
    ...(severity === undefined ? {} : { severity }),
    ...(participant === undefined ? {} : { 'participants.id': participant }),
    ...(incidents === undefined ? {} : { incidentId: { $in: [...incidents] } }),
    ...(Object.keys(begun).length === 0 ? {} : { createdAt: begun }),
    $or: [...(defaultRole(principal) === null ? [] : [{ chatType: 'group' }]), { 'participants.id': participantOf(principal) }],
  }
}
function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(`${field} ${problem}`, { details: { field } })
}
function over(id: string): ConflictError {
  return new ConflictError(`conversation ${id} is closed`, { remedy: 'Join it to take it up again.' })
}
function forbidden({ kind, id }: Principal, action: ChatAction): AccessError {
  return new AccessError('FORBIDDEN', `${kind} ${id} may not ${action} here`)
}
