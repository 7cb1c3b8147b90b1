import { on } from 'node:events'
import { SOCKET_CLOSE, type ConversationFrame } from '../contracts/conversation-frame.ts'
import { AccessError, describeError, EnvironmentError, FleetpulseError, NotFoundError } from '../kernel/errors.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import type { ApiClient } from './api-client.ts'

const RETRY_MS = 500
/** Tries to come back, one after another; then the platform is gone. */
const RETRIES_MAX = 60
/** Frames that wait to be shown: beyond it the connection is not read. */
const WAITING_FRAMES_MAX = 200

/**
 * What happens in a conversation, from after this place on, for as long as the signal does not abort. After a break it goes on where it was:
 * no message is left out or comes twice. Throws NotFoundError, AccessError, and EnvironmentError where the platform does not come back.
 */
export async function* conversationStream(
  api: ApiClient,
  id: string,
  afterSeq: number,
  signal: AbortSignal,
): AsyncGenerator<ConversationFrame> {
  let seq = afterSeq
  let failures = 0
  while (!signal.aborted) {
    try {
      for await (const frame of connection(api, id, seq, signal)) {
        failures = 0
        if (frame.type === 'message') seq = frame.message.seq
        yield frame
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof FleetpulseError && !error.retryable) throw error
      if (++failures > RETRIES_MAX)
        throw new EnvironmentError('PLATFORM_UNREACHABLE', `the platform at ${api.origin} does not come back: ${describeError(error)}`, {
          cause: error,
        })
    }
    await sleep(systemClock, RETRY_MS, signal)
  }
}

async function* connection(api: ApiClient, id: string, seq: number, signal: AbortSignal): AsyncGenerator<ConversationFrame> {
  const { socket, whenOpen } = api.socket(`/conversations/${encodeURIComponent(id)}/socket?afterSeq=${seq}`)
  let code = 0
  socket.once('close', (closedWith: number) => (code = closedWith))
  // Before it opens: the first frames may come with the handshake.
  const frames = on(socket, 'message', { close: ['close'], highWaterMark: WAITING_FRAMES_MAX, lowWaterMark: 1, signal })
  try {
    await whenOpen
    for await (const [data] of frames as AsyncIterable<[Buffer]>) yield JSON.parse(data.toString()) as ConversationFrame
  } finally {
    socket.terminate()
  }
  if (code === SOCKET_CLOSE.gone) throw new NotFoundError(`conversation ${id} is not there any more`)
  if (code === SOCKET_CLOSE.forbidden) throw new AccessError('FORBIDDEN', `you may not watch conversation ${id} any more`)
}
