import { newId } from '../../kernel/ids.ts'
import type { Clock } from '../../kernel/time.ts'
import type { ConversationDocument } from '../conversation/conversation-document.ts'
import type { ConversationStore } from '../conversation/conversation-store.ts'

/** Characters of an id that are its time. */
const ID_TIME_LENGTH = 10

export interface AmongTopOptions {
  store: Pick<ConversationStore, 'collection'>
  clock: Clock
  config: { dialoguesMax: number }
}

/**
 * Is this one of so many most important conversations about incidents that opened within so long: worse ones first, then those of more devices,
 * then those that opened first. Looked up when it is asked: ranks change while a storm lasts. One that opened before competes with nobody.
 */
export function amongTop(
  conversation: Pick<ConversationDocument, 'id' | 'tenant'>,
  { store, clock, config }: AmongTopOptions,
): (most: number, withinMs: number) => Promise<boolean> {
  return async (most, withinMs) => {
    const { id, tenant } = conversation
    const from = newId(Math.max(0, clock.nowMs() - withinMs)).slice(0, ID_TIME_LENGTH)
    if (id < from) return true
    const filter = { tenant, id: { $gte: from }, incidentId: { $ne: null } }
    const found = await store.collection.find(filter, { sort: { id: 1 }, limit: config.dialoguesMax })
    return rankOf(id, found) < most
  }
}

/** 0: none is more important. One that is not among them comes last. */
export function rankOf(id: string, all: readonly Pick<ConversationDocument, 'id' | 'severity' | 'deviceCount'>[]): number {
  const important = (a: (typeof all)[number]): number => (a.severity === 'critical' ? 1 : 0)
  const sorted = all.toSorted((a, b) => important(b) - important(a) || b.deviceCount - a.deviceCount || (a.id < b.id ? -1 : 1))
  const at = sorted.findIndex((each) => each.id === id)
  return at < 0 ? all.length : at
}
