import type { Collection, Stored } from '../../storage/documents/documents.ts'

/** Documents fetched at once while loading: bounds the memory of a start, large enough that the round trips do not count. */
const PAGE_DOCUMENTS = 1_000

/** Every document of a collection in order of id, a page in memory at a time. */
export async function* loadAll<T extends object>(collection: Collection<T>): AsyncGenerator<T & Stored> {
  let last: string | undefined
  for (;;) {
    const filter = last === undefined ? {} : { _id: { $gt: last } }
    const page = await collection.find(filter, { sort: { _id: 1 }, limit: PAGE_DOCUMENTS })
    yield* page
    if (page.length < PAGE_DOCUMENTS) return
    last = page[page.length - 1]?._id
  }
}
