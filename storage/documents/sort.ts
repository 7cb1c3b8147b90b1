import { compare } from 'mingo/util'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { FindOptions, Stored } from './documents.ts'
import { valuesAt } from './index-entries.ts'

export type Comparator = (a: Stored, b: Stored) => number

/**
 * Order of two documents as MongoDB defines it: missing counts as null; an array as its smallest element when ascending, its largest when
 * descending. Documents that are equal in all of it are ordered by id.
 */
export function comparatorOf(sort: NonNullable<FindOptions['sort']>): Comparator {
  const keys = Object.entries(sort)
  for (const [path, direction] of keys) {
    if (path === '' || path.startsWith('$') || (direction !== 1 && direction !== -1))
      throw new InvalidInputError(`sort by "${path}" must be 1 or -1`)
  }
  return (a, b) => {
    for (const [path, direction] of keys) {
      const order = compare(sortValue(a, path, direction), sortValue(b, path, direction))
      if (order !== 0) return order * direction
    }
    return a._id < b._id ? -1 : a._id > b._id ? 1 : 0
  }
}

function sortValue(document: object, path: string, direction: 1 | -1): unknown {
  const { values } = valuesAt(document, path)
  return values.length === 1 ? values[0] : values.reduce((best, item) => (compare(item, best) * direction < 0 ? item : best))
}

/** Keeps the first `count` of any number of documents, in order, holding at most about twice as many. */
export class FirstDocuments<T extends Stored> {
  readonly #count: number
  readonly #compare: Comparator
  #held: T[] = []

  constructor(count: number, compare: Comparator) {
    this.#count = count
    this.#compare = compare
  }
  add(document: T): void {
    this.#held.push(document)
    if (this.#held.length > 2 * this.#count + SLACK_DOCUMENTS) this.#held = this.sorted()
  }
  sorted(): T[] {
    this.#held.sort(this.#compare)
    return this.#held.length > this.#count ? this.#held.slice(0, this.#count) : this.#held
  }
}

/** Saves sorting after every few documents when only a few are asked for. */
const SLACK_DOCUMENTS = 256
