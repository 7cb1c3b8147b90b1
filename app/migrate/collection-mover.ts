import { isDeepStrictEqual } from 'node:util'
import { ConflictError } from '../../kernel/errors.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { MoveRecord } from './move-record.ts'
import type { MoveContext, Transform } from './move-rules.ts'
import type { MoveCount, Mover, OnProgress } from './mover.ts'

/** Documents read and written at once. */
const PAGE_DOCUMENTS = 500

export interface CollectionMoverOptions {
  source: Documents
  target: Documents
  record: MoveRecord
  context: MoveContext
  /** In the source. */
  name: string
  /** By the name in the target. */
  to: Readonly<Record<string, Transform>>
}

/** Moves one collection in the order of ids, page by page; after each page the record says how far it is. Versions begin at 1 again. */
export class CollectionMover implements Mover {
  readonly #options: CollectionMoverOptions

  constructor(options: CollectionMoverOptions) {
    this.#options = options
  }

  async held(): Promise<string[]> {
    const held: string[] = []
    for (const [collection, , name] of await this.#targets()) {
      const count = await collection.count({})
      if (count > 0) held.push(`${count} documents of ${name}`)
    }
    return held
  }

  async move(onProgress: OnProgress): Promise<void> {
    const { source, name, record } = this.#options
    let progress = record.progress(name)
    if (progress.done) return
    const from = await source.collection<Record<string, unknown>>({ name, indexes: [] })
    const targets = await this.#targets()
    const total = await from.count({})
    for (;;) {
      onProgress(name, progress.moved + progress.left, total)
      const page = await from.find(progress.last === '' ? {} : { _id: { $gt: progress.last } }, { sort: { _id: 1 }, limit: PAGE_DOCUMENTS })
      let moved = 0
      for (const [target, transform] of targets) moved = await this.#write(target, page, transform)
      progress = {
        last: page.at(-1)?._id ?? progress.last,
        moved: progress.moved + moved,
        left: progress.left + page.length - moved,
        done: page.length < PAGE_DOCUMENTS,
      }
      await record.advance(name, progress)
      if (progress.done) return
    }
  }

  async counts(): Promise<MoveCount[]> {
    const { source, name, record } = this.#options
    const { moved, left } = record.progress(name)
    const from = await source.collection({ name, indexes: [] })
    const total = await from.count({})
    const counts: MoveCount[] = []
    for (const [collection, , targetName] of await this.#targets()) {
      const target = await collection.count({})
      const what = targetName === name ? name : `${name} → ${targetName}`
      counts.push({ what, source: total - left, left, target, agrees: target === moved && total === moved + left })
    }
    return counts
  }

  async #targets(): Promise<[Collection<object>, Transform, string][]> {
    const { target, to } = this.#options
    return Promise.all(
      Object.entries(to).map(async ([name, transform]): Promise<[Collection<object>, Transform, string]> => [
        await target.collection<object>({ name, indexes: [] }),
        transform,
        name,
      ]),
    )
  }

  /** Answers how many of the page were written; those that are there already, from a move that was cut short, are compared. */
  async #write(target: Collection<object>, page: readonly (Record<string, unknown> & Stored)[], transform: Transform): Promise<number> {
    const moved = page.map((stored) => transform(stored, this.#options.context)).filter((each) => each !== null)
    await Promise.all(
      moved.map(async ({ id, document }) => {
        if ((await target.insert(id, document)).status === 'written') return
        const there = await target.get(id)
        const { _id, version: _version, ...rest } = there ?? {}
        if (there !== null && isDeepStrictEqual(rest, JSON.parse(JSON.stringify(document)))) return
        throw new ConflictError(`document ${id} of ${this.#options.name} cannot be moved: the cluster holds another one in its place`, {
          remedy: 'Name an empty database (mongodb.database) and start again, or remove that document there.',
        })
      }),
    )
    return moved.length
  }
}
