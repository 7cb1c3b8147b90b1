import type { Message } from '../../contracts/conversation.ts'
import { InternalError, isSealed } from '../../kernel/errors.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import { ToldStore, type ToldStoreOptions } from '../bus/told-store.ts'
import { EMPTY_FLOOR } from '../floor/floor.ts'
import { CONVERSATIONS_COLLECTION, MESSAGES_COLLECTION, type ConversationDocument } from './conversation-document.ts'

export type ConversationStoreOptions = Omit<ToldStoreOptions<ConversationDocument>, 'collection' | 'noun' | 'settle'>

/** Conversations and their messages. */
export class ConversationStore extends ToldStore<ConversationDocument> {
  readonly #documents
  #messages: Collection<Message> | undefined
  /** Conversations as they lie in the engine: sealed ones are not opened. */
  #lying: Collection<ConversationDocument> | undefined

  constructor(options: ConversationStoreOptions) {
    super({ ...options, collection: CONVERSATIONS_COLLECTION, noun: 'conversation', settle: (conversation) => this.#settle(conversation) })
    this.#documents = options.documents
  }

  override async start(): Promise<void> {
    await super.start()
    this.#messages ??= await this.#documents.collection<Message>(MESSAGES_COLLECTION)
    const { name, indexes } = CONVERSATIONS_COLLECTION
    this.#lying ??= await this.#documents.collection<ConversationDocument>({ name, indexes })
  }

  get messages(): Collection<Message> {
    if (this.#messages === undefined) throw new InternalError('the conversation store is not started')
    return this.#messages
  }

  /** Messages by place, those too that are still in the conversation alone. */
  async messagesAfter(conversation: ConversationDocument, afterSeq: number, limit: number): Promise<Message[]> {
    const stored = await this.messages.find({ conversation: conversation.id, seq: { $gt: afterSeq } }, { sort: { seq: 1 }, limit })
    const found = new Map<number, Message>()
    for (const message of conversation.spoken) if (message.seq > afterSeq) found.set(message.seq, message)
    for (const { _id, version, ...message } of stored) found.set(message.seq, message)
    return [...found.values()].sort((a, b) => a.seq - b.seq).slice(0, limit)
  }

  /** Removes what of conversations that are to be gone is left, once everybody was told. `forget` removes what is kept of an incident elsewhere. */
  async removeErased(limit: number, forget: (tenant: string, incident: string) => Promise<void>): Promise<void> {
    const gone = await this.collection.find({ erasedAt: { $gt: 0 }, unpublishedSince: null }, { limit })
    for (const { id, version, tenant, incidentId } of gone) {
      if (incidentId !== null) await forget(tenant, incidentId)
      await this.messages.deleteMany({ conversation: id })
      await this.collection.delete(id, version)
    }
  }

  /**
   * Takes `step` with conversations that do not open (STORE_SEALED) and ended, or were to be looked at, before `beforeMs`: without what lies
   * sealed in them, for nobody reads that again. Others never see these, so that they would stay for ever. What `step` tells is told by the
   * next `republish`.
   */
  async stepUnopened(beforeMs: number, limit: number, step: (conversation: ConversationDocument) => ConversationDocument): Promise<void> {
    const past = { $lt: beforeMs, $gt: 0 }
    for (const filter of [{ terminatedAt: past }, { dueAt: past }]) {
      const old = (await this.#lying?.find(filter, { limit })) ?? []
      for (const { _id, version, ...conversation } of old) {
        if (await this.#opens(_id)) continue
        // Whoever was faster did the same, or could open it.
        await this.collection.replace(_id, version, step(emptied(conversation)))
      }
    }
  }

  async #opens(id: string): Promise<boolean> {
    try {
      await this.collection.get(id)
      return true
    } catch (error) {
      if (isSealed(error)) return false
      throw error
    }
  }

  async #settle(conversation: ConversationDocument): Promise<(conversation: ConversationDocument) => ConversationDocument> {
    const { spoken } = conversation
    if (spoken.length === 0) return (document) => document
    // One that is there already was put there before a crash: it is the same, for its id is of its grant.
    await this.messages.saveMany(spoken.map((message) => ({ id: message.id, version: 0, document: message })))
    const settled = new Set(spoken.map(({ id }) => id))
    return (document) => ({ ...document, spoken: document.spoken.filter(({ id }) => !settled.has(id)) })
  }
}

/** Without what lies sealed; one that was to be gone is told so once more, for that may have been lost with it. */
function emptied({ erasedAt: _erasedAt, ...conversation }: ConversationDocument): ConversationDocument {
  const empty = { title: '', recent: [], questions: [], floor: EMPTY_FLOOR, spoken: [], outbox: [] }
  return { ...conversation, ...empty, unpublishedSince: null }
}
