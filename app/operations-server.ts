import type { AddressInfo } from 'node:net'
import { fastify, type FastifyInstance } from 'fastify'
import type { Operations } from '../dashboard/api/context.ts'
import { operationRoutes } from '../dashboard/api/routes/operations.ts'
import { describeError, EnvironmentError } from '../kernel/errors.ts'
import type { Service } from '../kernel/service.ts'

/** /metrics, /healthz and /readyz of a process that does not run the API. */
export class OperationsServer implements Service {
  readonly name = 'operations'
  readonly #options: { host: string; port: number; operations: Operations }
  #server: FastifyInstance | undefined

  constructor(options: { host: string; port: number; operations: Operations }) {
    this.#options = options
  }

  /** `http://HOST:PORT` once started. */
  get origin(): string {
    const { port } = this.#server?.server.address() as AddressInfo
    const { host } = this.#options
    return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
  }

  async start(): Promise<void> {
    if (this.#server !== undefined) return
    const { host, port, operations } = this.#options
    const server = fastify({ forceCloseConnections: true })
    operationRoutes(server, operations)
    try {
      await server.listen({ host, port })
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      throw new EnvironmentError(
        isTaken ? 'PORT_IN_USE' : 'LISTEN_FAILED',
        `the operations address ${host}:${port} cannot be opened: ${describeError(error)}`,
        {
          cause: error,
          remedy: 'Choose another port with FLEETPULSE_OPERATIONS_PORT (0 takes any free one).',
        },
      )
    }
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.close()
  }
}
