import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { bind } from './bind.ts'
import type { ListenerName } from './device-session.ts'
import type { RefusalReason } from './refusals.ts'

/** What a door asks and tells of who comes. */
export interface DoorKeeper {
  /** Before the handshake, which costs: may this address connect now? A refusal is noted by the keeper. */
  admitAddress(remoteAddress: string, listener: ListenerName): boolean
  /** A verified TLS connection with an MQTT stream on it. */
  welcome(tls: TLSSocket, stream: Duplex, listener: ListenerName): void
  refused(reason: RefusalReason, listener: ListenerName, remoteAddress: string, detail: string): void
}

/** One listener: accepts TCP, asks the keeper, and gives the socket to the TLS server behind. */
export class DeviceDoor {
  readonly #acceptor: Server
  readonly #sockets = new Set<Socket>()
  readonly #label: string
  readonly #portSetting: string

  constructor(options: { name: ListenerName; label: string; keeper: DoorKeeper; onSocket: (socket: Socket) => void }) {
    this.#label = options.label
    this.#portSetting = `FLEETPULSE_${options.name.toUpperCase()}_PORT`
    this.#acceptor = createServer({ noDelay: true }, (socket) => {
      const remoteAddress = plainAddress(socket.remoteAddress)
      // Until TLS takes over, a reset by the peer is only an end.
      socket.on('error', () => socket.destroy())
      if (!options.keeper.admitAddress(remoteAddress, options.name)) {
        socket.destroy()
        return
      }
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      options.onSocket(socket)
    })
  }

  /** Sockets open, handshakes included. */
  get size(): number {
    return this.#sockets.size
  }

  open(host: string, port: number): Promise<number> {
    return bind(this.#acceptor, host, port, this.#label, this.#portSetting)
  }

  /** Accepts nobody any more. */
  shut(): void {
    if (this.#acceptor.listening) this.#acceptor.close()
  }

  /** Cuts what is still open. */
  async close(): Promise<void> {
    this.shut()
    const closed = [...this.#sockets].map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closed)
  }
}

/** IPv4 as people write it, also when it came over an IPv6 socket. */
export function plainAddress(address: string | undefined): string {
  return (address ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '')
}
