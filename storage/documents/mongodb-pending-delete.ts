import type { Collection as ServerCollection } from 'mongodb'
import { StoreError } from '../../kernel/errors.ts'
import { escapeText, type ServerDocument } from './mongodb-codec.ts'
import type { MongodbConnection } from './mongodb-connection.ts'
import type { QueuedWrite } from './mongodb-write-queue.ts'

export type DeleteResult = { status: 'deleted' } | { status: 'conflict' } | { status: 'missing' }

/** One delete until it is answered. */
export class PendingDelete implements QueuedWrite {
  readonly kind = 'delete'
  readonly id: string
  readonly answer: Promise<DeleteResult>
  readonly #version: number | undefined
  #resolve: (answer: DeleteResult) => void = () => undefined
  #reject: (error: unknown) => void = () => undefined

  constructor(id: string, version: number | undefined) {
    this.id = id
    this.#version = version
    this.answer = new Promise<DeleteResult>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** A request of its own, so that its answer tells who of several deleted the document. */
  async perform(collection: ServerCollection<ServerDocument>, connection: MongodbConnection): Promise<void> {
    const _id = escapeText(this.id)
    const filter = this.#version === undefined ? { _id } : { _id, version: this.#version }
    let tries = 0
    const { deletedCount } = await connection.request('delete', () => {
      tries++
      return collection.deleteOne(filter)
    })
    if (deletedCount > 0) return this.#resolve({ status: 'deleted' })
    const there = await connection.request('look', () => collection.findOne({ _id }, { projection: { version: 1 } }))
    // Not there after a lost answer: deleted, by this or by another.
    if (there === null && tries > 1) return this.#reject(unknownOutcome(this.id))
    this.#resolve(there === null || this.#version === undefined ? { status: 'missing' } : { status: 'conflict' })
  }

  fail(error: unknown): void {
    this.#reject(error)
  }
}

function unknownOutcome(id: string): StoreError {
  return new StoreError('STORE_UNUSABLE', `who deleted document ${id} is not known: MongoDB's answer was lost`, {
    remedy: 'It is gone; ask again to see that.',
    retryable: true,
  })
}
