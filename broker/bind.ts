import type { AddressInfo, Server } from 'node:net'
import { EnvironmentError } from '../kernel/errors.ts'

/** Binds a listener and resolves to its port; `what` and `setting` are what an error names. `::` takes IPv4 too, and is 0.0.0.0 on a machine without IPv6. */
export async function bind(server: Server, host: string, port: number, what: string, setting: string): Promise<number> {
  try {
    await listen(server, host, port)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (host !== '::' || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw bindError(error, what, host, port, setting)
    await listen(server, '0.0.0.0', port).catch((second: unknown) => {
      throw bindError(second, what, '0.0.0.0', port, setting)
    })
  }
  return (server.address() as AddressInfo).port
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function bindError(error: unknown, what: string, host: string, port: number, setting: string): EnvironmentError {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'EADDRINUSE') {
    return new EnvironmentError('PORT_IN_USE', `${what} cannot listen on ${host} port ${port}: the port is in use`, {
      cause: error,
      remedy: `Stop what uses the port, or choose another one with ${setting} (0 takes any free port).`,
    })
  }
  return new EnvironmentError('LISTEN_FAILED', `${what} cannot listen on ${host} port ${port}`, {
    cause: error,
    remedy: `Check the host and ${setting} in the configuration, and the right to bind them.`,
  })
}

/** Stops accepting; connections that are open stay. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening) server.close(() => resolve())
    else resolve()
  })
}
