import type { FastifyInstance, RawServerBase } from 'fastify'
import type { Server, Socket } from 'node:net'
import { describeError, EnvironmentError } from '../../kernel/errors.ts'
import type { Clock } from '../../kernel/time.ts'

/** Listens, or throws EnvironmentError PORT_IN_USE or LISTEN_FAILED that names host, port and `setting`. */
export async function listenPlainly<S extends RawServerBase>(
  app: FastifyInstance<S>,
  host: string,
  port: number,
  setting: string,
): Promise<void> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
    const why = inUse ? 'is in use by another program' : `cannot be opened: ${describeError(error)}`
    throw new EnvironmentError(inUse ? 'PORT_IN_USE' : 'LISTEN_FAILED', `Port ${port} on ${host} ${why}.`, {
      remedy: `Stop what uses it, or choose another one with ${setting}; 0 takes any free one.`,
      details: { host, port },
      cause: error,
    })
  }
}

/** Every open socket of a server, handshakes under way included: those are in nobody else's books. */
export function trackSockets(server: Server): Set<Socket> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

/** Stops taking connections and lets requests in flight finish; what is open after `drainTimeoutMs` is cut. */
export async function closeWithin(
  app: { close(): Promise<unknown> },
  sockets: ReadonlySet<Socket>,
  clock: Clock,
  drainTimeoutMs: number,
): Promise<void> {
  const timer = clock.after(drainTimeoutMs, () => {
    for (const socket of sockets) socket.destroy()
  })
  try {
    await app.close()
  } finally {
    timer.cancel()
  }
}
