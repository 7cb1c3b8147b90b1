import type { TLSSocket } from 'node:tls'
import { isSameCertificate } from '../../contracts/certificate.ts'
import type { Credential } from '../../contracts/credential.ts'
import type { Expelled } from '../../contracts/registry-view.ts'

type ExpelledCertificate = Pick<Expelled, 'tenant' | 'device' | 'serial' | 'issuer'>
type DeviceHolder = Exclude<Credential, { kind: 'claim' }>

interface Connection {
  socket: TLSSocket
  credential: DeviceHolder
}

/** Open HTTPS connections by device, so that a revoked one is cut off at once. Bounded by the listener's connection limit. */
export class DeviceConnections {
  readonly #byDevice = new Map<string, Set<Connection>>()

  get size(): number {
    let size = 0
    for (const connections of this.#byDevice.values()) size += connections.size
    return size
  }

  add(socket: TLSSocket, credential: DeviceHolder): void {
    const key = keyOf(credential.tenant, credential.device)
    const connection = { socket, credential }
    const connections = this.#byDevice.get(key) ?? new Set()
    connections.add(connection)
    this.#byDevice.set(key, connections)
    socket.once('close', () => {
      connections.delete(connection)
      if (connections.size === 0 && this.#byDevice.get(key) === connections) this.#byDevice.delete(key)
    })
  }

  /** Ends the connections whose credential `lapses`; answers how many. */
  expelLapsed(lapses: (credential: DeviceHolder) => boolean): number {
    let count = 0
    for (const connections of this.#byDevice.values()) {
      for (const connection of connections) {
        if (!lapses(connection.credential)) continue
        connection.socket.destroy()
        count++
      }
    }
    return count
  }

  /** Ends the device's connections, or only those of one certificate; answers how many, and calls back as each has closed. */
  expel({ tenant, device, serial, issuer }: ExpelledCertificate, onClosed: () => void = () => {}): number {
    let count = 0
    for (const connection of this.#byDevice.get(keyOf(tenant, device)) ?? []) {
      if (serial !== undefined && !isSameCertificate(connection.credential, { serial, issuer })) continue
      connection.socket.once('close', onClosed)
      connection.socket.destroy()
      count++
    }
    return count
  }
}

function keyOf(tenant: string, device: string): string {
  return `${tenant}/${device}`
}
