import type { Message } from '../../contracts/conversation.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import { ToldStore, type ToldStoreOptions } from '../bus/told-store.ts'
import { CONVERSATIONS_COLLECTION, MESSAGES_COLLECTION, type ConversationDocument } from './conversation-document.ts'

export type ConversationStoreOptions = Omit<ToldStoreOptions<ConversationDocument>, 'collection' | 'noun' | 'settle'>

/** Conversations and their messages. */
export class ConversationStore extends ToldStore<ConversationDocument> {
  readonly #documents
  #messages: Collection<Message> | undefined

  constructor(options: ConversationStoreOptions) {
    super({ ...options, collection: CONVERSATIONS_COLLECTION, noun: 'conversation', settle: (conversation) => this.#settle(conversation) })
    this.#documents = options.documents
  }

  override async start(): Promise<void> {
    await super.start()
    this.#messages ??= await this.#documents.collection<Message>(MESSAGES_COLLECTION)
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

  async #settle(conversation: ConversationDocument): Promise<(conversation: ConversationDocument) => ConversationDocument> {
    const { spoken } = conversation
    if (spoken.length === 0) return (document) => document
    // One that is there already was put there before a crash: it is the same, for its id is of its grant.
    await this.messages.saveMany(spoken.map((message) => ({ id: message.id, version: 0, document: message })))
    const settled = new Set(spoken.map(({ id }) => id))
    return (document) => ({ ...document, spoken: document.spoken.filter(({ id }) => !settled.has(id)) })
  }
}
