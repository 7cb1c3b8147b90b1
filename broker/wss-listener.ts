import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { createWebSocketStream, WebSocketServer, type WebSocket } from 'ws'
import type { Clock } from '../kernel/time.ts'
import { stapling, type TlsMaterial } from '../kernel/tls.ts'
import { DeviceDoor, plainAddress, type DoorKeeper } from './device-door.ts'
import { reload, type DeviceListener } from './mqtts-listener.ts'
import { deviceTlsOptions, handshakeRefusal } from './tls-options.ts'

/** Close code for data of a kind the protocol does not know, RFC 6455 §7.4.1. */
const UNSUPPORTED_DATA = 1003

/**
 * MQTT over secure WebSocket, client certificates required. Any path; the subprotocol must be `mqtt` [MQTT-6.0.0-3], and data comes in
 * binary frames [MQTT-6.0.0-1].
 */
export function createWssListener(
  material: TlsMaterial,
  options: { handshakeTimeoutMs: number; frameBytesMax: number; clock: Clock },
  keeper: DoorKeeper,
): DeviceListener {
  const { handshakeTimeoutMs } = options
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: options.frameBytesMax,
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: () => 'mqtt',
  })
  const server = createSecureServer(deviceTlsOptions(material, handshakeTimeoutMs), answerPlainRequest)
  const staple = stapling(server, material)
  // Node's own request timeouts run only on a server that listens itself.
  const upgraded = new WeakSet<Duplex>()
  server.on('secureConnection', (tls: TLSSocket) => {
    const timer = options.clock.after(handshakeTimeoutMs, () => {
      if (upgraded.has(tls)) return
      keeper.refused('websocket', 'wss', plainAddress(tls.remoteAddress), 'no WebSocket upgrade came in time')
      tls.destroy()
    })
    tls.once('close', () => timer.cancel())
  })
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    const { reason, detail } = handshakeRefusal(error, socket)
    keeper.refused(reason, 'wss', plainAddress(socket.remoteAddress), detail)
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const tls = socket as TLSSocket
    if (!offersMqtt(request)) {
      keeper.refused('websocket', 'wss', plainAddress(tls.remoteAddress), 'the WebSocket subprotocol mqtt was not offered')
      tls.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    upgraded.add(tls)
    sockets.handleUpgrade(request, tls, head, (webSocket) => {
      rejectText(webSocket, () => keeper.refused('websocket', 'wss', plainAddress(tls.remoteAddress), 'a text frame came'))
      keeper.welcome(tls, createWebSocketStream(webSocket), 'wss')
    })
  })
  const door = new DeviceDoor({
    name: 'wss',
    label: 'MQTT over secure WebSocket',
    keeper,
    onSocket: (socket) => server.emit('connection', socket),
  })
  return { door, reloadTls: (next) => reload(server, staple, next) }
}

function offersMqtt(request: IncomingMessage): boolean {
  const offered = request.headers['sec-websocket-protocol'] ?? ''
  return offered.split(',').some((protocol) => protocol.trim() === 'mqtt')
}

/** Only the upgrade is served here. */
function answerPlainRequest(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(426, { connection: 'close', upgrade: 'websocket', 'content-length': 0 }).end()
}

function rejectText(webSocket: WebSocket, onText: () => void): void {
  webSocket.on('message', (_data, isBinary) => {
    if (isBinary) return
    onText()
    webSocket.close(UNSUPPORTED_DATA)
    webSocket.terminate()
  })
}
