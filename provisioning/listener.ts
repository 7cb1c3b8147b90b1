import type { FastifyInstance, RawServerBase } from 'fastify'
import type { Server, Socket } from 'node:net'
import { EnvironmentError } from '../kernel/errors.ts'
import type { Clock } from '../kernel/time.ts'

/** Listens, or throws EnvironmentError PORT_UNAVAILABLE that names host, port and setting. */
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
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const why =
      code === 'EADDRINUSE' ? 'is in use by another program' : code === 'EACCES' ? 'may not be opened by this user' : 'cannot be opened'
    throw new EnvironmentError('PORT_UNAVAILABLE', `Port ${port} on ${host} ${why}.`, {
      remedy: `Stop what uses it, or choose another one with provisioning.${setting}; 0 takes any free one.`,
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
