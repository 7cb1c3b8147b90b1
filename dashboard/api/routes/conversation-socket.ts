import { Type } from 'typebox'
import type { Principal } from '../../../contracts/authorisation.ts'
import { LimitError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { requireSameOrigin } from '../principals.ts'
import { problemResponses, sendProblem } from '../problem.ts'
import type { FeedSource } from '../sockets/conversation-feed.ts'
import type { ConversationSockets } from '../sockets/conversation-sockets.ts'
import type { WebSocketDoor } from '../sockets/web-socket-door.ts'
import { digestNoticeOf } from './digests.ts'

/** Messages that wait for one watcher at a time: a page of the longest ones is a few hundred kilobytes. */
const PAGE_MESSAGES = 20

/** A conversation's own WebSocket: what was said, and then what is said and done, live. What it sends: contracts/conversation-frame.ts. */
export function conversationSocketRoute(api: Api, context: RouteContext, sockets: ConversationSockets, door: WebSocketDoor): void {
  api.get(
    '/conversations/:id/socket',
    {
      exposeHeadRoute: false,
      schema: {
        // OpenAPI describes no WebSocket: docs/conversations.md does.
        hide: true,
        params: Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) }),
        querystring: Type.Object({
          afterSeq: Type.Optional(
            Type.Integer({ minimum: 0, description: 'only what comes after this place; default: from the beginning' }),
          ),
        }),
        response: problemResponses(),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const principal = context.allow(request, 'read', 'conversations', id)
      // A page of elsewhere can open a socket with the browser's cookie, and could read what it says.
      requireSameOrigin(request)
      if (sockets.open >= context.config.socketsMax) throw new LimitError('api.socketsMax sockets are open')
      await context.conversations.get(principal, id)
      if (!door.isAsked(request.raw)) {
        return sendProblem(
          reply.header('upgrade', 'websocket').header('connection', 'upgrade'),
          426,
          'UPGRADE_REQUIRED',
          'This is a WebSocket: ask for it with the headers of RFC 6455.',
        )
      }
      reply.hijack()
      const watcher = {
        ...{ principal, conversation: id, afterSeq: request.query.afterSeq ?? 0 },
        source: sourceOf(context, principal, id),
        mayStay: () => context.isStillAllowed(request, 'read', 'conversations', id),
      }
      door.open(request.raw, (socket) => sockets.accept(socket, watcher))
    },
  )
}

function sourceOf({ conversations, digests }: RouteContext, principal: Principal, id: string): FeedSource {
  return {
    view: () => conversations.get(principal, id),
    messages: (afterSeq) => conversations.messages(principal, id, afterSeq, PAGE_MESSAGES),
    digest: async (incident) => {
      const newest = await digests.newest(principal.tenant, incident)
      return newest === null ? null : digestNoticeOf(newest)
    },
  }
}
