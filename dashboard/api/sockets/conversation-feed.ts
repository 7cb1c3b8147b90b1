import type { ConversationFrame, DigestNotice } from '../../../contracts/conversation-frame.ts'
import type { Conversation, Message } from '../../../contracts/conversation.ts'
import { FleetpulseError } from '../../../kernel/errors.ts'
import type { Clock, Timer } from '../../../kernel/time.ts'

export type FeedView = Conversation & { version: number }

/** Where a feed reads what it sends, as its watcher may see it. */
export interface FeedSource {
  /** Throws NotFoundError or AccessError for who may not see it (any more). */
  view(): Promise<FeedView>
  /** In order of place, some of what comes after this one. */
  messages(afterSeq: number): Promise<readonly Message[]>
  /** The newest of the incident; null: none yet. */
  digest(incident: string): Promise<DigestNotice | null>
}

export interface ConversationFeedOptions {
  source: FeedSource
  afterSeq: number
  /** Resolves when the watcher's connection took it; rejects when it is gone. */
  send: (frame: ConversationFrame) => Promise<void>
  /** There is nothing more to be sent, ever. */
  onGone: (error: FleetpulseError) => void
  /** A look that failed and is repeated. */
  onTrouble: (error: unknown) => void
  clock: Clock
}

/** Until a look that failed, or that saw a message before the one in front of it, is repeated. */
const RETRY_MS = 250

/**
 * What one watcher of a conversation was sent, and what is next. Whoever hears that something may have happened calls `look`: it reads what
 * there is after the last place and sends that, so that an event which is lost, repeated or comes late changes nothing in what arrives. One
 * look at a time, and the next only when the connection took what was sent: no more than a page waits here.
 */
export class ConversationFeed {
  readonly #options: ConversationFeedOptions
  #seq: number
  #view: FeedView | undefined
  #digestText = ''
  #isDigestDue = true
  #isCaughtUp = false
  #isLooking = false
  #isDue = false
  #isClosed = false
  #retry: Timer | undefined

  constructor(options: ConversationFeedOptions) {
    this.#options = options
    this.#seq = options.afterSeq
  }

  /** Place of the last message that was sent. */
  get seq(): number {
    return this.#seq
  }

  /** Everything that there was has been sent: from here on it is live. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp
  }

  /** `digest`: something may have happened to the digest too. */
  look(digest = false): void {
    if (digest) this.#isDigestDue = true
    this.#isDue = true
    if (!this.#isLooking && !this.#isClosed) void this.#run()
  }

  close(): void {
    this.#isClosed = true
    this.#retry?.cancel()
  }

  async #run(): Promise<void> {
    this.#isLooking = true
    try {
      while (this.#isDue && !this.#isClosed) {
        this.#isDue = false
        await this.#look()
      }
    } catch (error) {
      if (!this.#isClosed) this.#fail(error)
    } finally {
      this.#isLooking = false
    }
  }

  #fail(error: unknown): void {
    const { onGone, onTrouble } = this.#options
    if (error instanceof FleetpulseError && (error.code === 'NOT_FOUND' || error.code === 'FORBIDDEN')) return onGone(error)
    onTrouble(error)
    this.#isDigestDue = true
    this.#lookLater()
  }

  #lookLater(): void {
    this.#retry?.cancel()
    this.#retry = this.#options.clock.after(RETRY_MS, () => this.look())
  }

  async #look(): Promise<void> {
    const view = await this.#options.source.view()
    await this.#tellView(view)
    const isWhole = await this.#tellMessages()
    await this.#tellDigest(view)
    if (!isWhole) this.#lookLater()
    else if (!this.#isCaughtUp) {
      this.#isCaughtUp = true
      await this.#send({ type: 'caught-up', seq: this.#seq })
    }
  }

  async #tellView(view: FeedView): Promise<void> {
    const before = this.#view
    if (before !== undefined && before.version >= view.version) return
    this.#view = view
    if (view.revision !== before?.revision) this.#isDigestDue = true
    const { speaker, floorEpoch, waiting } = view
    if (before === undefined || lasting(view) !== lasting(before)) await this.#send({ type: 'conversation', conversation: view })
    else if (floorOf(view) !== floorOf(before)) await this.#send({ type: 'floor', speaker, floorEpoch, waiting })
  }

  /** Answers false where a message is not there yet that stands before others which are: several are stored, but not in one step. */
  async #tellMessages(): Promise<boolean> {
    for (;;) {
      const page = await this.#options.source.messages(this.#seq)
      if (page.length === 0) return true
      for (const message of page) {
        if (message.seq !== this.#seq + 1) return false
        await this.#send({ type: 'message', message })
        this.#seq = message.seq
      }
    }
  }

  async #tellDigest({ incidentId }: FeedView): Promise<void> {
    if (incidentId === null || !this.#isDigestDue) return
    this.#isDigestDue = false
    const digest = await this.#options.source.digest(incidentId)
    const text = JSON.stringify(digest)
    if (digest === null || text === this.#digestText) return
    await this.#send({ type: 'digest', digest })
    this.#digestText = text
  }

  async #send(frame: ConversationFrame): Promise<void> {
    if (!this.#isClosed) await this.#options.send(frame)
  }
}

/** What neither the floor nor counting changes. */
function lasting({
  speaker: _s,
  floorEpoch: _e,
  waiting: _w,
  version: _v,
  lastActivity: _l,
  turns: _t,
  totalTurns: _tt,
  totalTokens: _tk,
  messageCount: _m,
  ...rest
}: FeedView): string {
  return JSON.stringify(rest)
}

function floorOf({ speaker, floorEpoch, waiting }: FeedView): string {
  return JSON.stringify([speaker, floorEpoch, waiting])
}
