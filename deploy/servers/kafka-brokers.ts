import { join } from 'node:path'
import { KafkaServer } from './kafka-server.ts'
import { freePort } from './server-process.ts'

/** Several nodes of Kafka that are one cluster: what people run where none may be the last. */
export class KafkaBrokers {
  readonly #folder: string
  readonly #count: number
  readonly #settings: Readonly<Record<string, string>>
  #servers: readonly KafkaServer[] = []

  constructor(options: { folder: string; count: number; settings?: Readonly<Record<string, string>> }) {
    this.#folder = options.folder
    this.#count = options.count
    this.#settings = options.settings ?? {}
  }

  get servers(): readonly KafkaServer[] {
    return this.#servers
  }
  get addresses(): string[] {
    return this.#servers.map(({ address }) => address)
  }

  async start(): Promise<void> {
    const ports = await differentPorts(2 * this.#count)
    const controllerPorts = ports.slice(this.#count)
    this.#servers = controllerPorts.map((_, i) => {
      const id = i + 1
      return new KafkaServer({
        folder: join(this.#folder, `node-${id}`),
        port: ports[i],
        node: { id, controllerPorts },
        settings: this.#settings,
      })
    })
    // None gets ready before most of them are there.
    await Promise.all(this.#servers.map((server) => server.start()))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()))
  }
}

async function differentPorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}
