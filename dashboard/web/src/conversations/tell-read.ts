import { ApiError } from '../api/client.ts'
import { conversations } from '../api/endpoints.ts'
import { ReadReceipts } from './read-receipts.ts'

/** Refused for the moment only: too slow, changed by others meanwhile, too many requests. */
const PASSING = new Set([408, 409, 429])

/** Receipts of one's own in a conversation, while this window is seen; `stop` ends them. */
export function tellRead(conversation: string): { upTo(seq: number): void; stop(): void } {
  const receipts = new ReadReceipts({
    say: (seq) => conversations.receive(conversation, { kind: 'read', seq }),
    isRefusal: (error) => error instanceof ApiError && error.status >= 400 && error.status < 500 && !PASSING.has(error.status),
    isSeen: () => document.visibilityState === 'visible',
    after: (delayMs, run) => {
      const timer = setTimeout(run, delayMs)
      return { cancel: () => clearTimeout(timer) }
    },
  })
  const look = (): void => receipts.look()
  document.addEventListener('visibilitychange', look)
  return {
    upTo: (seq) => receipts.upTo(seq),
    stop: () => {
      document.removeEventListener('visibilitychange', look)
      receipts.stop()
    },
  }
}
