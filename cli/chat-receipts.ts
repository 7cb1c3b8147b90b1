import { FleetpulseError } from '../kernel/errors.ts'
import type { ApiClient } from './api-client.ts'
import { plain } from './chat-print.ts'

/** `read`: a person looks at a terminal; `delivered`: a program got it. */
export type ReceiptKind = 'read' | 'delivered'

/** Says how far this command got with what it shows: one request at a time, for everything up to the latest place. */
export class ChatReceipts {
  readonly #api: ApiClient
  readonly #id: string
  readonly #kind: ReceiptKind
  #wanted: number
  #said: number
  #running: Promise<void> | undefined
  #isRefused = false

  constructor(api: ApiClient, id: string, options: { kind: ReceiptKind; afterSeq: number }) {
    this.#api = api
    this.#id = id
    this.#kind = options.kind
    this.#wanted = this.#said = options.afterSeq
  }

  /** Everything up to this place was shown. Never throws: a receipt that is refused is said once, and the talk goes on. */
  upTo(seq: number): void {
    this.#wanted = Math.max(this.#wanted, seq)
    this.#running ??= this.#say().finally(() => (this.#running = undefined))
  }

  /** Resolves when everything is said that is going to be. */
  async settled(): Promise<void> {
    await this.#running
  }

  async #say(): Promise<void> {
    while (this.#said < this.#wanted && !this.#isRefused) {
      const seq = this.#wanted
      try {
        await this.#api.post(`/conversations/${this.#id}/receipts`, { kind: this.#kind, seq })
        this.#said = seq
      } catch (error) {
        if (!(error instanceof FleetpulseError)) throw error
        this.#isRefused = true
        process.stderr.write(`! how far you got is not told: ${plain(error.message)}\n`)
      }
    }
  }
}
