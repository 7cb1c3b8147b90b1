import { ApiError } from '../api/client.ts'
import { conversations, socketPath } from '../api/endpoints.ts'
import type { Conversation, ConversationFrame, DigestNotice, Message } from '../api/conversation-types.ts'
import { messageOf } from '../api/client.ts'

const RETRY_MS = 1_000
const RETRY_MAX_MS = 15_000
/** Messages held; a longer conversation shows its latest. */
const MESSAGES_MAX = 2_000
/** Close codes after which asking again would be answered the same: not allowed, gone. */
const FINAL_CODES = new Set([4401, 4404])

/** One conversation as its own WebSocket tells it: from the beginning, then live, and after a break from where it was. */
export class ConversationWatch {
  conversation = $state.raw<Conversation | undefined>(undefined)
  messages = $state.raw<Message[]>([])
  digest = $state.raw<DigestNotice | undefined>(undefined)
  state = $state<'connecting' | 'live' | 'lost'>('connecting')
  missing = $state(false)
  error = $state('')
  readonly #id: string
  #socket: WebSocket | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  #failures = 0
  #isStopped = false

  constructor(id: string) {
    this.#id = id
  }

  start(): void {
    this.#isStopped = false
    void this.#connect()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#retry)
    this.#socket?.close()
  }

  /** Asks over the API first: a WebSocket that is refused does not say why. */
  async #connect(): Promise<void> {
    try {
      this.conversation = await conversations.get(this.#id)
      this.error = ''
    } catch (error) {
      if (this.#isStopped) return
      this.missing = error instanceof ApiError && error.status === 404
      this.error = messageOf(error)
      if (!this.missing) this.#later()
      return
    }
    if (this.#isStopped) return
    const afterSeq = this.messages.at(-1)?.seq ?? 0
    const socket = new WebSocket(socketPath(this.#id, afterSeq))
    this.#socket = socket
    socket.onmessage = (event) => this.#take(JSON.parse(event.data as string) as ConversationFrame)
    socket.onclose = ({ code }) => {
      if (this.#isStopped || this.#socket !== socket) return
      this.state = 'lost'
      if (FINAL_CODES.has(code)) this.error = code === 4404 ? 'This conversation is not there any more.' : 'You may not watch this conversation any more.'
      else this.#later()
    }
  }

  #later(): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => void this.#connect(), Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** this.#failures++))
  }

  #take(frame: ConversationFrame): void {
    switch (frame.type) {
      case 'conversation':
        this.conversation = frame.conversation
        return
      case 'floor': {
        const { speaker, floorEpoch, waiting } = frame
        if (this.conversation !== undefined) this.conversation = { ...this.conversation, speaker, floorEpoch, waiting }
        return
      }
      case 'message':
        this.messages = [...this.messages, frame.message].slice(-MESSAGES_MAX)
        return
      case 'digest':
        this.digest = frame.digest
        return
      case 'caught-up':
        this.#failures = 0
        this.state = 'live'
    }
  }
}
