import type { FastifyInstance } from 'fastify'
import type { Operations } from '../context.ts'

/** Plain operations, outside /api/v1 and without a token: nothing here tells about devices or readings. */
export function operationRoutes(server: FastifyInstance, operations: Operations): void {
  server.get('/metrics', { schema: { hide: true } }, async (_request, reply) => reply.type('text/plain; version=0.0.4; charset=utf-8').send(await operations.metricsText()))
  server.get('/healthz', { schema: { hide: true } }, async () => ({ status: 'alive' }))
  server.get('/readyz', { schema: { hide: true } }, async (_request, reply) => {
    const notReady = await operations.notReady()
    const ready = Object.keys(notReady).length === 0
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', notReady })
  })
}
