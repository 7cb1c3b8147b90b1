import { maskSecrets } from '../../kernel/mask.ts'
import type { Stored } from '../../storage/documents/documents.ts'
import type { EventType } from './event-types.ts'

/** What happened to one thing and is not in the log yet. */
export interface OutboxEntry {
  /** Its place among the events of its thing: 1, 2, … without gaps. */
  sequence: number
  type: EventType
  at: number
  data: Record<string, unknown>
}

/** A document whose changes are told by events; they wait in it, so that no change goes without its event and no event without its change. */
export interface Told {
  id: string
  tenant: string
  correlationId: string
  /** Of its last event. */
  sequence: number
  outbox: OutboxEntry[]
  /** Since when some wait, epoch ms; null: all are told. */
  unpublishedSince: number | null
}
export type StoredTold<D extends Told> = D & Stored

/** Adds an event about this change. `eventType` and `timestamp` are in every event's data; keys and passwords in its text are masked. */
export function tell<D extends Told>(document: D, type: EventType, data: Record<string, unknown>, nowMs: number): D {
  const sequence = document.sequence + 1
  const entry: OutboxEntry = {
    sequence,
    type,
    at: nowMs,
    data: { eventType: type, ...masked(data), timestamp: new Date(nowMs).toISOString() },
  }
  return { ...document, sequence, outbox: [...document.outbox, entry], unpublishedSince: document.unpublishedSince ?? nowMs }
}

function masked<T>(value: T): T {
  if (typeof value === 'string') return maskSecrets(value) as T
  if (Array.isArray(value)) return value.map(masked) as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, masked(member)])) as T
}
