import { mapBounded } from '../../kernel/map-bounded.ts'
import type { Filter } from '../../storage/documents/documents.ts'
import type { StoredConversation } from './conversation-document.ts'
import type { ConversationStore } from './conversation-store.ts'

export interface Search {
  filter: Filter
  /** Who asks: what others said in private does not count. */
  me: string
  /** Words of the title or of what was said; empty: all. */
  search: string
  cursor: string | undefined
  limit: number
}

const PAGE_ITEMS = 100
const LOOKS_IN_FLIGHT_MAX = 8

/** Newest first. With words, up to `scanMax` conversations are looked through; `next` says where to go on. */
export async function findConversations(
  store: ConversationStore,
  { filter, me, search, cursor, limit }: Search,
  scanMax: number,
): Promise<{ items: StoredConversation[]; next: string | null }> {
  const items: StoredConversation[] = []
  let after = cursor
  for (let scanned = 0; scanned < scanMax;) {
    const pageMax = search === '' ? limit + 1 : PAGE_ITEMS
    const before = after === undefined ? {} : { id: { $lt: after } }
    const page = await store.collection.find({ ...filter, ...before }, { sort: { id: -1 }, limit: pageMax })
    items.push(...(search === '' ? page : await matching(store, page, search, me)))
    if (items.length > limit) return { items: items.slice(0, limit), next: items[limit - 1]?.id ?? null }
    if (page.length < pageMax) return { items, next: null }
    scanned += page.length
    after = page.at(-1)?.id
  }
  return { items, next: after ?? null }
}

async function matching(
  store: ConversationStore,
  page: readonly StoredConversation[],
  search: string,
  me: string,
): Promise<StoredConversation[]> {
  const pattern = new RegExp(escaped(search), 'i')
  const readable = { $or: [{ isPrivate: false }, { from: me }, { to: me }] }
  const hits = new Set<string>()
  await mapBounded(page, LOOKS_IN_FLIGHT_MAX, async ({ id, title, spoken }) => {
    const isSaid = spoken.some(({ content, isPrivate, from, to }) => (!isPrivate || from === me || to === me) && pattern.test(content))
    if (pattern.test(title) || isSaid) return void hits.add(id)
    if (await isFound(store, { conversation: id, ...readable }, pattern)) hits.add(id)
  })
  return page.filter(({ id }) => hits.has(id))
}

/** Words lie sealed, so that no engine can look for them. */
async function isFound(store: ConversationStore, filter: Filter, pattern: RegExp): Promise<boolean> {
  for (let afterSeq = 0; ;) {
    const found = await store.messages.find({ ...filter, seq: { $gt: afterSeq } }, { sort: { seq: 1 }, limit: PAGE_ITEMS })
    if (found.some(({ content }) => pattern.test(content))) return true
    if (found.length < PAGE_ITEMS) return false
    afterSeq = found.at(-1)?.seq ?? Number.MAX_SAFE_INTEGER
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
}
