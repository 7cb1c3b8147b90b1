import type { LogPlace } from './log-place.ts'

interface Mark {
  id: string
  place: LogPlace
}

/**
 * Commands from the log that a device has acknowledged, but whose place is not on record yet as handled. Should this process die, its
 * successor reads the log from the place on record, and these tell it what not to send again. Bounded by the commands acknowledged
 * between two renewals of the lease.
 */
export class DoneMarks {
  readonly #isRecorded: (clientId: string, place: LogPlace) => boolean
  readonly #marks = new Map<string, Mark[]>()

  constructor(isRecorded: (clientId: string, place: LogPlace) => boolean) {
    this.#isRecorded = isRecorded
  }

  /** False when no mark is needed, for the place is on record. */
  add(clientId: string, mark: Mark): boolean {
    if (this.#isRecorded(clientId, mark.place)) return false
    this.keep(clientId, mark)
    return true
  }

  /** Keeps a mark that was stored before. */
  keep(clientId: string, mark: Mark): void {
    const marks = this.#marks.get(clientId)
    if (marks === undefined) this.#marks.set(clientId, [mark])
    else marks.push(mark)
  }

  has(clientId: string, { partition, offset }: LogPlace): boolean {
    return this.#marks.get(clientId)?.some(({ place }) => place.partition === partition && place.offset === offset) === true
  }

  /** Forgets a client's marks; answers the ids of their documents. */
  drop(clientId: string): string[] {
    const ids = (this.#marks.get(clientId) ?? []).map(({ id }) => id)
    this.#marks.delete(clientId)
    return ids
  }

  /** Forgets the marks that are needed no more; answers the ids of their documents. */
  takeRecorded(): string[] {
    const ids: string[] = []
    for (const [clientId, marks] of this.#marks) {
      const left = marks.filter((mark) => !this.#isRecorded(clientId, mark.place))
      if (left.length < marks.length) ids.push(...marks.filter((mark) => !left.includes(mark)).map(({ id }) => id))
      if (left.length === 0) this.#marks.delete(clientId)
      else this.#marks.set(clientId, left)
    }
    return ids
  }
}
