import { isIP } from 'node:net'
import { Connection, ResponseError, type API, type Broker, type ConnectionOptions } from '@platformatic/kafka'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { unavailable } from './kafka-errors.ts'

export interface KafkaConnectionsOptions {
  clientId: string
  connection: ConnectionOptions
  log: Logger
}

/**
 * Connections for one purpose, one per broker. A broker answers the requests of a connection one after the other, so what waits long
 * (a fetch, a rebalance) has connections of its own.
 */
export class KafkaConnections {
  readonly #options: KafkaConnectionsOptions
  readonly #open = new Map<string, Promise<Connection>>()
  #isClosed = false

  constructor(options: KafkaConnectionsOptions) {
    this.#options = options
  }

  /** One request, one answer. Rejects with the library's errors; a connection that failed is opened anew the next time. */
  async call<A extends unknown[], R>(broker: Broker, api: API<A, R>, ...request: A): Promise<R> {
    const connection = await this.#get(broker)
    try {
      return await api.async(connection, ...request)
    } catch (error) {
      // An error that a broker answered leaves the connection in order; after a timeout it is not.
      if (!(error instanceof ResponseError)) this.#forget(broker, connection)
      throw error
    }
  }

  /** Ends the requests under way; the next one opens a new connection. */
  cut(): void {
    for (const [key, opening] of this.#open) {
      this.#open.delete(key)
      void opening.then(
        (connection) => this.#close(connection),
        () => undefined,
      )
    }
  }

  /** Ends the requests under way, and takes no more. */
  close(): void {
    this.#isClosed = true
    this.cut()
  }

  #get(broker: Broker): Promise<Connection> {
    if (this.#isClosed) return Promise.reject(unavailable('the event log is stopped'))
    const key = keyOf(broker)
    let opening = this.#open.get(key)
    if (opening === undefined) {
      opening = this.#connect(broker)
      this.#open.set(key, opening)
      opening.catch(() => {
        if (this.#open.get(key) === opening) this.#open.delete(key)
      })
    }
    return opening
  }

  async #connect(broker: Broker): Promise<Connection> {
    const { clientId, connection: options, log } = this.#options
    const connection = new Connection(clientId, { ...options, tlsServerName: isIP(broker.host) === 0 })
    // The error is given to whoever waits for an answer; here it is only kept from being nobody's.
    connection.on('error', (error) => log.debug({ broker: keyOf(broker), error: describeError(error) }, 'connection to Kafka failed'))
    connection.once('close', () => this.#forget(broker, connection))
    await connection.connect(broker.host, broker.port)
    return connection
  }

  #forget(broker: Broker, connection: Connection): void {
    const key = keyOf(broker)
    const opening = this.#open.get(key)
    void opening?.then(
      (current) => {
        if (current === connection && this.#open.get(key) === opening) this.#open.delete(key)
      },
      () => undefined,
    )
    this.#close(connection)
  }

  #close(connection: Connection): void {
    connection.close((error) => {
      if (error !== null) this.#options.log.debug({ error: describeError(error) }, 'connection to Kafka not closed cleanly')
    })
  }
}

function keyOf({ host, port }: Broker): string {
  return `${host}:${port}`
}
