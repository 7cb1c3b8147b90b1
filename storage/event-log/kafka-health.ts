import { describeError } from '../../kernel/errors.ts'

/** What of the log works and what does not, by what was tried last. */
export class KafkaHealth {
  readonly #failing = new Map<string, string>()

  /** One sentence, or null when the last try of everything worked. */
  get failing(): string | null {
    for (const sentence of this.#failing.values()) return sentence
    return null
  }

  worked(part: string): void {
    if (this.#failing.size > 0) this.#failing.delete(part)
  }

  failed(part: string, error: unknown): void {
    this.#failing.set(part, describeError(error))
  }
}
