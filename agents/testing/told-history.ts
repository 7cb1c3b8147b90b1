import { createHash } from 'node:crypto'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { LogRecord } from '../../storage/event-log/event-log.ts'
import { open, seal, type BusEvent } from '../bus/envelope.ts'
import { EVENT_TOPICS } from '../bus/event-types.ts'
import type { Told } from '../bus/outbox.ts'
import type { ConversationDocument } from '../conversation/conversation-document.ts'
import { receiptOf } from '../conversation/receipts.ts'
import type { ConversationHistory } from '../events/history.ts'

export const BUS_SECRET = Buffer.alloc(32, 7)

/** What a conversation that is stored says of what its events tell. */
export function storedHistory(document: ConversationDocument): ConversationHistory {
  const { createdBy, createdAt, round, state, terminationReason, participants, floor, nextSeq, revision } = document
  const present = participants.filter(({ leftAt }) => leftAt === null)
  return {
    ...{ createdBy, createdAt, round, isClosed: state === 'closed', terminationReason, revision },
    participants: present.map((who) => ({ id: who.id, role: who.role, ...receiptOf(who) })).sort(byId),
    ...{ speaker: floor.holder?.participant ?? null, floorEpoch: floor.epoch, messageCount: nextSeq - 1 },
  }
}

export function sorted(history: ConversationHistory): ConversationHistory {
  return { ...history, participants: history.participants.toSorted(byId) }
}

function byId(a: { id: string }, b: { id: string }): number {
  return a.id < b.id ? -1 : 1
}

/** Every event that waits in a document, as records of the log. */
export function recordsOf(document: Told, key: Uint8Array = BUS_SECRET): LogRecord[] {
  return document.outbox.map((entry, offset) => {
    const message = seal(entry, document, key)
    return { ...message, headers: message.headers ?? {}, topic: EVENT_TOPICS[entry.type], partition: 0, offset, appendedAt: entry.at }
  })
}

export function eventOf(record: LogRecord, key: Uint8Array = BUS_SECRET): BusEvent {
  const opened = open(record, key)
  if (opened.status !== 'event') throw new TypeError(opened.why)
  return opened.event
}

/** A hash over everything that a collection holds. */
export async function stateHash(documents: Documents, collection: string): Promise<string> {
  const all = await (await documents.collection<{ id: string }>({ name: collection, indexes: [] })).find({}, { sort: { id: 1 } })
  const bare = all.map(({ version: _version, ...document }) => document)
  return createHash('sha256').update(canonicalJson(bare)).digest('hex')
}
