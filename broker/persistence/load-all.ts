import type { Collection, Filter, Stored } from '../../storage/documents/documents.ts'

/** Documents fetched at once while loading: bounds the memory of a start, large enough that the round trips do not count. */
const PAGE_DOCUMENTS = 1_000

/** Every document of a collection in order of id, a page in memory at a time. */
export function loadAll<T extends object>(collection: Collection<T>): AsyncGenerator<T & Stored> {
  return pages(collection, (last) => (last === undefined ? {} : { _id: { $gt: last } }))
}

/** Every document whose id begins with `prefix` and a slash, in order of id. */
export function loadBelow<T extends object>(collection: Collection<T>, prefix: string): AsyncGenerator<T & Stored> {
  const end = `${prefix}${String.fromCharCode('/'.charCodeAt(0) + 1)}`
  return pages(collection, (last) => ({ _id: { $gt: last ?? `${prefix}/`, $lt: end } }))
}

/** The documents with these ids that there are. */
export async function* loadThese<T extends object>(collection: Collection<T>, ids: readonly string[]): AsyncGenerator<T & Stored> {
  for (let at = 0; at < ids.length; at += PAGE_DOCUMENTS) {
    const page = ids.slice(at, at + PAGE_DOCUMENTS)
    const [only] = page
    if (page.length === 1 && only !== undefined) {
      const document = await collection.get(only)
      if (document !== null) yield document
    } else yield* await collection.find({ _id: { $in: page } })
  }
}

async function* pages<T extends object>(collection: Collection<T>, filter: (last?: string) => Filter): AsyncGenerator<T & Stored> {
  let last: string | undefined
  for (;;) {
    const page = await collection.find(filter(last), { sort: { _id: 1 }, limit: PAGE_DOCUMENTS })
    yield* page
    if (page.length < PAGE_DOCUMENTS) return
    last = page[page.length - 1]?._id
  }
}
