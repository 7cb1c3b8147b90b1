import { Type } from 'typebox'
import type { FastifyRequest } from 'fastify'
import { describeError, LimitError } from '../../../kernel/errors.ts'
import { every, type Timer } from '../../../kernel/time.ts'
import type { LiveEvent } from '../live-hub.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

/** A comment line this often keeps proxies from closing a quiet stream. */
const HEARTBEAT_MS = 15_000
/** How often it is asked whether the watcher may still watch: so long a stream outlives its session, key or right. */
const RECHECK_MS = 1_000

export function liveRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/live',
    {
      // HEAD would be an answer without an end and without a body.
      exposeHeadRoute: false,
      schema: {
        // An answer without an end: OpenAPI 3.1 cannot describe it, and clients made from the document would wait for ever. Its description has it.
        hide: true,
        querystring: Type.Object({
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'only this device' })),
          readings: Type.Optional(Type.Boolean({ description: 'readings too (thinned to api.liveReadingsPerSecondMax); default: only with a device' })),
          readingsOf: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'the readings of this device, and everything else of the fleet: one stream serves a device page' })),
        }),
        response: { 200: { description: 'a stream of events', content: { 'text/event-stream': { schema: Type.String() } } }, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { tenant } = context.allow(request, 'read', 'live')
      const { config, clock, live } = context
      if (live.clients >= config.liveClientsMax) throw new LimitError('api.liveClientsMax live streams are open')
      const { device } = request.query
      reply.hijack()
      const { raw } = reply
      const end = (): void => {
        raw.end()
      }
      raw.writeHead(200, { ...reply.getHeaders(), 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no' } as Record<string, string>)
      raw.write('retry: 2000\n\n')
      let queued = 0
      let second = 0
      let readingsInSecond = 0
      const write = (text: string): void => {
        if (queued >= config.liveQueueMax) {
          raw.destroy()
          return
        }
        queued++
        raw.write(text, () => queued--)
      }
      const send = ({ event, data }: LiveEvent): void => {
        if (event === 'reading') {
          const now = Math.floor(clock.nowMs() / 1_000)
          if (now !== second) readingsInSecond = 0
          second = now
          if (++readingsInSecond > config.liveReadingsPerSecondMax) return
        }
        write(`event: ${event}\ndata: ${data}\n\n`)
      }
      const remove = live.add({ tenant, device, readings: request.query.readingsOf ?? request.query.readings ?? device !== undefined, send, end })
      const heartbeat = watching(context, request, write, end)
      const finish = (): void => {
        heartbeat.cancel()
        remove()
      }
      raw.on('close', finish)
      if (raw.destroyed) finish()
    },
  )
}

/** Tells a quiet watcher that it is still watched over, and ends the stream once its session is closed or over, or its right is gone. */
function watching(context: RouteContext, request: FastifyRequest, write: (text: string) => void, end: () => void): Timer {
  const { clock, log } = context
  let saidMs = clock.monotonicMs()
  return every(
    clock,
    RECHECK_MS,
    async () => {
      if (!(await context.isStillAllowed(request, 'read', 'live'))) return end()
      if (clock.monotonicMs() - saidMs < HEARTBEAT_MS) return
      saidMs = clock.monotonicMs()
      write(': still here\n\n')
    },
    (error) => log.warn({ error: describeError(error) }, 'whether a watcher may still watch could not be asked'),
  )
}
