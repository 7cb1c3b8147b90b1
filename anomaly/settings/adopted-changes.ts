import type { RoadSettings } from '../../contracts/operator.ts'
import { ConflictError, describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

/** A change: numbers have no gaps, and a change is never altered. */
export interface Numbered {
  number: number
}

/** From an offset on, changes up to a number hold. */
interface Adoption {
  number: number
  fromOffset: number
}

/** Adoptions of one partition by one consumer group. */
interface PartitionAdoptions {
  adoptions: Adoption[]
}

interface Opened<C extends Numbered> {
  changes: Collection<C>
  adoptions: Collection<PartitionAdoptions>
}

export interface AdoptedChangesOptions<C> {
  documents: Documents
  clock: Clock
  log: Logger
  /** How often changes that came since are looked for, ms. */
  pollMs: number
  /** Collections of the changes, and of where they began to hold. */
  changes: string
  adoptions: string
  /** Adoptions kept of a partition: more than changes between two checkpoints, and enough to replay what the log still has. */
  adoptionsMax: number
  /** The newest that are read at the start; absent: all. */
  newestMax?: number
  /** Is told of each change, in the order of their numbers. */
  onChange?: (change: C) => void
}

/** Changes read at once. */
const PAGE_CHANGES = 500
/** Digits of a change's number in its id. */
const NUMBER_DIGITS = 12

/** Id of the change of a number: whoever inserts it first has that number. */
export function changeId(number: number): string {
  return String(number).padStart(NUMBER_DIGITS, '0')
}

/**
 * Numbered changes that operators on the road go by, the same for the same reading however often it is processed and by whom: each partition
 * of the readings topic has it written down from which offset on which of them hold.
 */
export class AdoptedChanges<C extends Numbered> implements RoadSettings {
  readonly #options: AdoptedChangesOptions<C>
  /** Per partition, oldest first. */
  readonly #adoptions = new Map<number, { version: number; list: Adoption[] }>()
  #newest = 0
  #collections: Opened<C> | undefined
  #timer: Timer | undefined
  #refreshing: Promise<void> = Promise.resolve()

  constructor(options: AdoptedChangesOptions<C>) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#collections !== undefined) return
    const { documents, clock, pollMs, log, changes, adoptions, newestMax } = this.#options
    this.#collections = {
      changes: await documents.collection<C>({ name: changes, indexes: [{ name: 'by-number', paths: ['number'] }] }),
      adoptions: await documents.collection<PartitionAdoptions>({ name: adoptions, indexes: [] }),
    }
    if (newestMax !== undefined) await this.#readNewest(newestMax)
    await this.refresh()
    const onError = (error: unknown): void => log.warn({ changes, error: describeError(error) }, 'changes cannot be read, the former hold')
    this.#timer = every(clock, pollMs, () => this.refresh(), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#refreshing.catch(() => undefined)
    this.#collections = undefined
    this.#newest = 0
    this.#adoptions.clear()
  }

  /** Number of the newest change that is known here. */
  get newest(): number {
    return this.#newest
  }

  get collection(): Collection<C> {
    return this.#opened().changes
  }

  /** Reads changes that came since; one look at a time, so that none is taken twice. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.catch(() => undefined).then(() => this.#refresh())
    return this.#refreshing
  }

  async #refresh(): Promise<void> {
    for (;;) {
      const known = this.#newest
      const page = await this.#opened().changes.find({ number: { $gt: known } }, { sort: { number: 1 }, limit: PAGE_CHANGES })
      for (const change of page) if (change.number === this.#newest + 1) this.#note(change)
      if (page.length < PAGE_CHANGES || this.#newest === known) return
    }
  }

  isBehind(partitions: Iterable<number>): boolean {
    if (this.#newest === 0) return false
    for (const partition of partitions) if (this.#newestIn(partition) < this.#newest) return true
    return false
  }

  async take(group: string, partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) {
      const stored = await this.#opened().adoptions.get(idOf(group, partition))
      this.#adoptions.set(partition, { version: stored?.version ?? 0, list: stored?.adoptions ?? [] })
    }
    // The former owner may have known of changes that this process has not read yet.
    await this.refresh()
  }

  async adopt(group: string, next: ReadonlyMap<number, number>): Promise<void> {
    const number = this.#newest
    const behind = [...next].filter(([partition]) => this.#newestIn(partition) < number)
    const adopted = behind.map(([partition, fromOffset]) => {
      const { version, list } = this.#adoptions.get(partition) ?? { version: 0, list: [] }
      return { partition, version, list: [...list, { number, fromOffset }].slice(-this.#options.adoptionsMax) }
    })
    const answers = await this.#opened().adoptions.saveMany(
      adopted.map(({ partition, version, list }) => ({ id: idOf(group, partition), version, document: { adoptions: list } })),
    )
    for (const [k, { partition, version, list }] of adopted.entries()) {
      if (answers[k] !== 'written') throw new ConflictError(`partition ${partition} is another process's: it adopted changes there`)
      this.#adoptions.set(partition, { version: version + 1, list })
    }
  }

  /** Number of the newest change that holds at a place of the readings topic; 0 = none. Hot path. */
  numberAt(partition: number, offset: number): number {
    const list = this.#adoptions.get(partition)?.list
    if (list === undefined) return 0
    for (let k = list.length - 1; k >= 0; k--) {
      const adoption = list[k] as Adoption
      if (adoption.fromOffset <= offset) return adoption.number
    }
    return 0
  }

  async #readNewest(max: number): Promise<void> {
    const newest = await this.#opened().changes.find({}, { sort: { number: -1 }, limit: max })
    for (const change of newest.reverse()) this.#note(change)
  }

  #note(change: C): void {
    this.#newest = change.number
    this.#options.onChange?.(change)
  }

  #newestIn(partition: number): number {
    return this.#adoptions.get(partition)?.list.at(-1)?.number ?? 0
  }

  #opened(): Opened<C> {
    if (this.#collections === undefined) throw new TypeError(`the changes in ${this.#options.changes} are read before start`)
    return this.#collections
  }
}

function idOf(group: string, partition: number): string {
  return `${group}/${partition}`
}
