import { ConflictError } from '../../kernel/errors.ts'
import type { MoveCount } from './mover.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

/** How far one collection is. */
export interface CollectionProgress {
  /** Id of the last document that was dealt with. */
  last: string
  /** Documents written to each target collection, and documents that stay behind. */
  moved: number
  left: number
  done: boolean
}

/** What is remembered of a move, in the target's documents: a move that was cut short goes on there. */
export interface MoveDocument {
  /** Of the data folder that is moved. */
  source: string
  startedAt: number
  finishedAt: number | null
  collections: Record<string, CollectionProgress>
  /** As they were at the end. */
  counts: MoveCount[]
}

export const MOVES_COLLECTION = 'moves'
const ID = 'embedded'
const FRESH: CollectionProgress = { last: '', moved: 0, left: 0, done: false }

/** The one move into this target. */
export class MoveRecord {
  readonly #moves: Collection<MoveDocument>
  #document: MoveDocument | null

  private constructor(moves: Collection<MoveDocument>, document: MoveDocument | null) {
    this.#moves = moves
    this.#document = document
  }

  /** Throws ConflictError when the target took another data folder before. */
  static async open(target: Documents, source: string): Promise<MoveRecord> {
    const moves = await target.collection<MoveDocument>({ name: MOVES_COLLECTION, indexes: [] })
    const stored = await moves.get(ID)
    if (stored === null) return new MoveRecord(moves, null)
    const { _id, version: _version, ...document } = stored
    if (document.source === source) return new MoveRecord(moves, document)
    throw new ConflictError('another data folder was moved to this cluster before', {
      remedy: 'Name an empty database (mongodb.database) and other tables (questdb.tablePrefix), or start the cluster as it is.',
    })
  }

  get isBegun(): boolean {
    return this.#document !== null
  }
  /** When it ended and what was on both sides then; null before. */
  get end(): { finishedAt: number; counts: MoveCount[] } | null {
    const { finishedAt = null, counts = [] } = this.#document ?? {}
    return finishedAt === null ? null : { finishedAt, counts }
  }

  async begin(source: string, nowMs: number): Promise<void> {
    await this.#save({ source, startedAt: nowMs, finishedAt: null, collections: {}, counts: [] })
  }

  progress(collection: string): CollectionProgress {
    return this.#document?.collections[collection] ?? FRESH
  }

  async advance(collection: string, progress: CollectionProgress): Promise<void> {
    const document = this.#begun()
    await this.#save({ ...document, collections: { ...document.collections, [collection]: progress } })
  }

  async finish(finishedAt: number, counts: MoveCount[]): Promise<void> {
    await this.#save({ ...this.#begun(), finishedAt, counts })
  }

  #begun(): MoveDocument {
    if (this.#document === null) throw new TypeError('the move has not begun')
    return this.#document
  }

  async #save(document: MoveDocument): Promise<void> {
    await this.#moves.put(ID, document)
    this.#document = document
  }
}
