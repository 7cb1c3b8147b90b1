import { ServerResponse, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { WebSocketServer, type WebSocket } from 'ws'

/** Clients have nothing to say: a control frame has at most 125 bytes (RFC 6455 §5.5). */
const CLIENT_FRAME_BYTES_MAX = 1_024
/** Of the connection and of what it is to become, which we do not do. */
const HOP_HEADERS = new Set(['upgrade', 'http2-settings'])

/**
 * Requests for a WebSocket (RFC 6455 §4.2), which Node hands over apart from the others: they go through the server's routes like these, with
 * the same authentication, validation, audit and refusals, until the route takes the connection with `open`.
 */
export class WebSocketDoor {
  readonly #upgrading = new WeakMap<IncomingMessage, { socket: Duplex; head: Buffer; response: ServerResponse }>()
  readonly #sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: CLIENT_FRAME_BYTES_MAX,
    perMessageDeflate: false,
  })

  /** Begins to take such requests of this server. */
  attach(server: FastifyInstance): void {
    const http = server.server
    http.on('upgrade', (request, socket, head) => {
      // RFC 9110 §7.8: a server may ignore an upgrade that it does not know. Java's client asks every plain server for HTTP/2.
      if (!isWebSocket(request)) return withoutUpgrade(http, request, socket, head)
      const response = new ServerResponse(request)
      response.shouldKeepAlive = false
      response.assignSocket(socket as Parameters<ServerResponse['assignSocket']>[0])
      response.once('finish', () => socket.end())
      socket.once('error', () => socket.destroy())
      this.#upgrading.set(request, { socket, head, response })
      server.routing(request, response)
    })
  }

  /** Can this request become a WebSocket? */
  isAsked(request: IncomingMessage): boolean {
    return this.#upgrading.has(request)
  }

  /** Answers the handshake; a broken one is refused by the library. The reply must be hijacked. */
  open(request: IncomingMessage, onOpen: (socket: WebSocket) => void): void {
    const upgrading = this.#upgrading.get(request)
    if (upgrading === undefined) return
    const { socket, head, response } = upgrading
    this.#upgrading.delete(request)
    response.detachSocket(socket as Parameters<ServerResponse['detachSocket']>[0])
    this.#sockets.handleUpgrade(request, socket, head, onOpen)
  }
}

function isWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket'
}

/** The request again, as it came but without the wish, for Node to read it like the others. */
function withoutUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const { method = 'GET', url = '/', httpVersion, rawHeaders } = request
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name = '', value = ''] = rawHeaders.slice(i, i + 2)
    if (HOP_HEADERS.has(name.toLowerCase())) continue
    const kept = name.toLowerCase() === 'connection' ? withoutHops(value) : value
    if (kept !== '' || value === '') lines.push(`${name}: ${kept}`)
  }
  // Node reads header text as Latin-1, byte for byte.
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit('connection', socket)
}

function withoutHops(value: string): string {
  const tokens = value.split(',').map((token) => token.trim())
  return tokens.filter((token) => token !== '' && !HOP_HEADERS.has(token.toLowerCase())).join(', ')
}
