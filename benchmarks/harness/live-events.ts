import { describeError } from '../../kernel/errors.ts'

export interface ReceivedEvent {
  event: string
  data: unknown
}

/** Reads a stream of server-sent events until it is closed; `onEvent` is called as each arrives. */
export class LiveEvents {
  readonly #closing = new AbortController()
  #reading: Promise<void> = Promise.resolve()

  /** Resolves when the stream is open. */
  async open(url: string, token: string, onEvent: (event: ReceivedEvent) => void): Promise<void> {
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` }, signal: this.#closing.signal })
    if (answer.status !== 200 || answer.body === null) throw new TypeError(`GET ${url}: ${answer.status}`)
    this.#reading = this.#read(answer.body, onEvent)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#reading
  }

  async #read(body: ReadableStream<Uint8Array>, onEvent: (event: ReceivedEvent) => void): Promise<void> {
    const decoder = new TextDecoder()
    let text = ''
    try {
      for await (const chunk of body) {
        const parts = (text + decoder.decode(chunk, { stream: true })).split('\n\n')
        text = parts.pop() ?? ''
        for (const part of parts) {
          const event = /^event: (.*)$/m.exec(part)?.[1]
          const data = /^data: (.*)$/m.exec(part)?.[1]
          if (event !== undefined && data !== undefined) onEvent({ event, data: JSON.parse(data) as unknown })
        }
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) process.stderr.write(`the live stream broke: ${describeError(error)}\n`)
    }
  }
}
