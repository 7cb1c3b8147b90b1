import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** One TCP address in front of several edges, as a load balancer gives it: each connection goes to the next one that accepts it. */
export class Balancer {
  readonly #ports: () => readonly number[]
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #turn = 0

  /** `ports` answers where edges listen now. */
  constructor(ports: () => readonly number[]) {
    this.#ports = ports
    this.#server = createServer((socket) => this.#forward(socket))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  /** Cuts about this part of the connections, 0 to 1, without a word to either side; answers how many. */
  cut(part: number, random: () => number): number {
    const cut = [...this.#sockets].filter(() => random() < part)
    for (const socket of cut) socket.resetAndDestroy()
    return cut.length
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #forward(client: Socket): void {
    const ports = this.#ports()
    const port = ports[this.#turn++ % Math.max(1, ports.length)]
    client.on('error', () => client.destroy())
    if (port === undefined) {
      client.destroy()
      return
    }
    const edge = connect(port, '127.0.0.1')
    edge.on('error', () => client.destroy())
    edge.on('close', () => client.destroy())
    client.on('close', () => {
      this.#sockets.delete(client)
      edge.destroy()
    })
    this.#sockets.add(client)
    client.pipe(edge)
    edge.pipe(client)
  }
}
