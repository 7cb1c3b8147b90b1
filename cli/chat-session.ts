import type { ConversationFrame } from '../contracts/conversation-frame.ts'
import { describeError, InternalError, TimeoutError } from '../kernel/errors.ts'
import { systemClock } from '../kernel/time.ts'
import type { ApiClient } from './api-client.ts'
import { ChatPrinter } from './chat-print.ts'
import { ChatReceipts, type ReceiptKind } from './chat-receipts.ts'
import { conversationStream } from './conversation-stream.ts'

/** One conversation as this command shows it: live, from a place on, with what is waited for in it. */
export class ChatSession {
  readonly #api: ApiClient
  readonly #id: string
  readonly #printer: ChatPrinter
  readonly #receipts: ChatReceipts | undefined
  readonly #stop = new AbortController()
  readonly #asked: string[] = []
  readonly #waiting = new Set<() => void>()
  /** Under which name this command asks: its own questions come back with it. */
  #me: string | undefined
  #answers = 0
  #seq: number
  #isClosed = false
  #isCaughtUp = false
  #running: Promise<void> | undefined
  #failure: Error | undefined

  constructor(api: ApiClient, id: string, options: { json: boolean; afterSeq: number; receipts?: ReceiptKind }) {
    this.#api = api
    this.#id = id
    this.#seq = options.afterSeq
    this.#printer = new ChatPrinter(options)
    const { receipts: kind, afterSeq } = options
    this.#receipts = kind === undefined ? undefined : new ChatReceipts(api, id, { kind, afterSeq })
  }

  /** Place of the last message that was shown. */
  get seq(): number {
    return this.#seq
  }
  /** Everything that there was when it came has been shown. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp
  }
  /** It was shown to its present end, and that is the end. */
  get isOver(): boolean {
    return this.#isClosed && this.#isCaughtUp
  }
  /** Everything that this command asked was answered. */
  get isAnswered(): boolean {
    return this.#answers >= this.#asked.length
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      this.#failure = error instanceof Error ? error : new InternalError(describeError(error))
      this.#tellWaiting()
    })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
    this.#receipts?.upTo(this.#seq)
    await this.#receipts?.settled()
  }

  /** Says or asks. Throws as the API refuses. */
  async say(content: string, kind: 'question' | 'message' | 'statement'): Promise<void> {
    if (kind === 'question') this.#asked.push(content)
    try {
      await this.#api.post(`/conversations/${this.#id}/messages`, { content, kind })
    } catch (error) {
      if (kind === 'question') this.#asked.pop()
      throw error
    }
  }

  /** Resolves when it holds. Throws TimeoutError after so long, and what ended the stream. `waitMs` 0: no bound. */
  async until(what: string, holds: () => boolean, waitMs: number): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + waitMs
    while (!holds()) {
      if (this.#failure !== undefined) throw this.#failure
      const leftMs = deadlineMs - systemClock.monotonicMs()
      if (waitMs > 0 && leftMs <= 0) throw new TimeoutError(`${what} did not come within ${waitMs} ms`)
      await this.#somethingNew(waitMs > 0 ? leftMs : undefined)
    }
  }

  #somethingNew(leftMs: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer?.cancel()
        this.#waiting.delete(done)
        resolve()
      }
      const timer = leftMs === undefined ? undefined : systemClock.after(leftMs, done)
      this.#waiting.add(done)
    })
  }

  async #run(): Promise<void> {
    for await (const frame of conversationStream(this.#api, this.#id, this.#seq, this.#stop.signal)) {
      this.#printer.show(frame)
      this.#take(frame)
      if (this.#isCaughtUp) this.#receipts?.upTo(this.#seq)
      this.#tellWaiting()
    }
  }

  #take(frame: ConversationFrame): void {
    if (frame.type === 'conversation') this.#isClosed = frame.conversation.state === 'closed'
    else if (frame.type === 'caught-up') this.#isCaughtUp = true
    else if (frame.type === 'message') {
      const { seq, kind, from, to, content } = frame.message
      this.#seq = seq
      if (kind === 'question' && this.#asked.includes(content)) this.#me = from
      if (kind === 'answer' && this.#asked.length > 0 && (to === null || this.#me === undefined || to === this.#me)) this.#answers++
    }
  }

  #tellWaiting(): void {
    for (const done of [...this.#waiting]) done()
  }
}
