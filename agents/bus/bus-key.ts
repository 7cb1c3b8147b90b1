import { randomBytes } from 'node:crypto'
import { InternalError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { CollectionSpec, Documents } from '../../storage/documents/documents.ts'

const KEYS_COLLECTION: CollectionSpec = { name: 'agent-keys', indexes: [] }
const KEY_BYTES = 32
const BUS = 'bus'

interface KeyDocument {
  secret: Uint8Array
}

/**
 * The key that signs the agents' events, made by the first process. It lies in the documents, which whoever may read can change everything
 * with anyway; it keeps out who can only append to the log.
 */
export class BusKey implements Service {
  readonly name = 'bus-key'
  readonly #documents: Documents
  #secret: Uint8Array | undefined

  constructor(options: { documents: Documents }) {
    this.#documents = options.documents
  }

  async start(): Promise<void> {
    if (this.#secret !== undefined) return
    const keys = await this.#documents.collection<KeyDocument>(KEYS_COLLECTION)
    await keys.insert(BUS, { secret: randomBytes(KEY_BYTES) })
    const stored = await keys.get(BUS)
    if (stored === null) throw new InternalError('the key of the agents’ bus is gone as soon as it was made')
    this.#secret = stored.secret
  }

  async stop(): Promise<void> {
    this.#secret = undefined
  }

  get secret(): Uint8Array {
    if (this.#secret === undefined) throw new InternalError('the key of the agents’ bus is not there before the start')
    return this.#secret
  }
}
