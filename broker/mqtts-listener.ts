import { createServer, type Server, type TLSSocket } from 'node:tls'
import { stapling, type TlsMaterial } from '../kernel/tls.ts'
import { DeviceDoor, plainAddress, type DoorKeeper } from './device-door.ts'
import { deviceTlsOptions, handshakeRefusal, secureContextOptions } from './tls-options.ts'

/** A listener whose certificates can be changed while it runs. */
export interface DeviceListener {
  readonly door: DeviceDoor
  /** New connections get the new material; open ones stay. */
  reloadTls(material: TlsMaterial): void
}

/** MQTT over TLS, client certificates required. */
export function createMqttsListener(material: TlsMaterial, handshakeTimeoutMs: number, keeper: DoorKeeper): DeviceListener {
  const server = createServer(deviceTlsOptions(material, handshakeTimeoutMs), (socket) => keeper.welcome(socket, socket, 'mqtts'))
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    const { reason, detail } = handshakeRefusal(error, socket)
    keeper.refused(reason, 'mqtts', plainAddress(socket.remoteAddress), detail)
  })
  const staple = stapling(server, material)
  const door = new DeviceDoor({ name: 'mqtts', label: 'MQTT over TLS', keeper, onSocket: (socket) => server.emit('connection', socket) })
  return { door, reloadTls: (next) => reload(server, staple, next) }
}

/** New handshakes get the new certificate and its staple. */
export function reload(server: Server, staple: (material: TlsMaterial) => void, material: TlsMaterial): void {
  server.setSecureContext(secureContextOptions(material))
  staple(material)
}
