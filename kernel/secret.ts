import { inspect } from 'node:util'

/** A value that never prints: strings, JSON, logs and inspection all show the mask. `reveal()` is the one way out. */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return '[masked]'
  }
  toJSON(): string {
    return '[masked]'
  }
  [inspect.custom](): string {
    return '[masked]'
  }
}
