import { StoreError } from '../../kernel/errors.ts'
import type { Stored } from './documents.ts'
import { prepareDocument, type PreparedDocument, type ServerDocument } from './mongodb-codec.ts'
import type { QueuedWrite } from './mongodb-write-queue.ts'

/** How one way of writing decides and answers. `R` is its answer. */
export interface SaveRule<R> {
  /** What it must know of the document before its first try. */
  needs: 'nothing' | 'version' | 'document'
  /** What to store, given what is there (undefined: nothing, or not looked at; its own to change); or the answer when nothing is to be stored. May throw. */
  decide(current: Stored | undefined): { store: Stored } | { answer: R }
  written(stored: Stored): R
  /** A unique key belongs to another document. May throw. */
  taken(): R
}

export interface PendingSaveOptions {
  id: string
  /** Names this write in what it stores. */
  token: string
  rule: SaveRule<unknown>
  documentBytesMax: number
  racesMax: number
}

/** One insert, replace, update or put until it is answered. */
export class PendingSave implements QueuedWrite {
  readonly kind = 'save'
  readonly id: string
  /** What the rule answers. */
  readonly answer: Promise<unknown>
  readonly #options: PendingSaveOptions
  #resolve: (answer: unknown) => void = () => undefined
  #reject: (error: unknown) => void = () => undefined
  #sent: (PreparedDocument & { base: number }) | undefined
  #duplicate = false
  #answerLost = false
  #races = 0

  constructor(options: PendingSaveOptions) {
    this.id = options.id
    this.#options = options
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get needs(): SaveRule<unknown>['needs'] {
    return this.#options.rule.needs
  }
  /** What was decided last; `base` is the version it takes the place of, 0 for none. */
  get sent(): { base: number; server: ServerDocument } {
    if (this.#sent === undefined) throw new TypeError(`nothing was decided for ${this.id}`)
    return this.#sent
  }

  /** Decides by what is there now: true when there is something to store, false when it is answered. */
  decide(found: { stored: Stored; token: string } | undefined): boolean {
    const { rule, token, documentBytesMax } = this.#options
    if (this.#sent !== undefined && this.#settledBy(this.#sent, found)) return false
    const base = found?.stored.version ?? 0
    try {
      const decision = rule.decide(found?.stored)
      if ('answer' in decision) {
        this.#resolve(decision.answer)
        return false
      }
      this.#sent = { ...prepareDocument(decision.store, token, documentBytesMax), base }
      return true
    } catch (error) {
      this.#reject(error)
      return false
    }
  }

  written(): void {
    if (this.#sent !== undefined) this.#resolve(this.#options.rule.written(this.#sent.stored))
  }

  /** The last try was not, or perhaps not, stored: `duplicate` when a key of it is taken, `answerLost` when an answer to it was. */
  notSeenStored(how: { duplicate: boolean; answerLost: boolean }): void {
    this.#duplicate = how.duplicate
    this.#answerLost ||= how.answerLost
    this.#races++
  }

  fail(error: unknown): void {
    this.#reject(error)
  }

  /** After a try: did it succeed unseen, is its key taken, can it go on? */
  #settledBy(sent: { stored: Stored; base: number }, found: { stored: Stored; token: string } | undefined): boolean {
    const { rule, token, racesMax } = this.#options
    const version = found?.stored.version ?? 0
    if (found?.token === token) this.#resolve(rule.written(sent.stored))
    else if (this.#answerLost && version > sent.base + 1) this.#reject(unknownOutcome(this.id))
    else if (this.#duplicate && version === sent.base) this.#taken()
    else if (this.#races > racesMax) this.#reject(overtakenTooOften(this.id, this.#races))
    else return false
    return true
  }

  #taken(): void {
    try {
      this.#resolve(this.#options.rule.taken())
    } catch (error) {
      this.#reject(error)
    }
  }
}

function unknownOutcome(id: string): StoreError {
  return new StoreError(
    'STORE_UNUSABLE',
    `whether document ${id} was written is not known: MongoDB's answer was lost and others wrote it since`,
    {
      remedy: 'Read it and decide again.',
      retryable: true,
    },
  )
}

function overtakenTooOften(id: string, races: number): StoreError {
  return new StoreError(
    'STORE_UNUSABLE',
    `document ${id} was changed by others ${races} times while it was to be written (mongodb.racesMax)`,
    {
      remedy: 'Try again; if it lasts, too many processes write this one document.',
      retryable: true,
    },
  )
}
