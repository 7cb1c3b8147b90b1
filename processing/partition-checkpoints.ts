import type { Collection, Documents } from '../storage/documents/documents.ts'

/** Next offsets to be read of one partition of `readings` and of `rejected` after a restart: everything before is in the saved states. */
export interface PartitionCheckpoint {
  readings: number
  rejected: number
}

/** Where each partition goes on, per consumer group. */
export class PartitionCheckpoints {
  readonly #documents: Documents
  readonly #group: string
  #collection: Collection<PartitionCheckpoint> | undefined

  constructor(options: { documents: Documents; group: string }) {
    this.#documents = options.documents
    this.#group = options.group
  }

  async start(): Promise<void> {
    this.#collection = await this.#documents.collection<PartitionCheckpoint>({ name: 'checkpoints', indexes: [] })
  }

  /** From the beginning when there is none; a group that is new begins where `before` is. */
  async load(partition: number, before?: string): Promise<PartitionCheckpoint> {
    const own = await this.#opened().get(idOf(this.#group, partition))
    const other = own === null && before !== undefined ? await this.#opened().get(idOf(before, partition)) : null
    const { readings, rejected } = own ?? other ?? { readings: 0, rejected: 0 }
    return { readings, rejected }
  }

  async save(partition: number, checkpoint: PartitionCheckpoint): Promise<void> {
    await this.#opened().put(idOf(this.#group, partition), checkpoint)
  }

  #opened(): Collection<PartitionCheckpoint> {
    if (this.#collection === undefined) throw new TypeError('PartitionCheckpoints.start was not called')
    return this.#collection
  }
}

function idOf(group: string, partition: number): string {
  return `${group}/${partition}`
}
