import { connect, type TLSSocket } from 'node:tls'
import { EnvironmentError, TimeoutError } from '../kernel/errors.ts'
import type { DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { connectPacket, DISCONNECT, packetBounds, PINGREQ, pubackPacket, PublishEncoder, readPublish, subscribePacket } from './mqtt-packets.ts'

export interface DeviceConnectionOptions {
  host: string
  port: number
  device: string
  bundle: DeviceBundle
  keepAliveS: number
  /** Packet ids acknowledged, in one read. */
  onAcked: (packetIds: readonly number[]) => void
  onClosed: (error: Error | undefined) => void
  /** Subscribes, with QoS 1, to this path below `devices/{device}/`, and hands over what comes. */
  listen?: { path: string; onMessage: (payload: Buffer) => void }
}

const PUBACK = 0x40
const PINGRESP = 0xd0
const SUBACK = 0x90
const PUBLISH = 0x30
/** Upper half of a packet's first byte. */
const TYPE = 0xf0
const PACKET_ID_MAX = 65_535
/** Without any byte from the broker for so long an attempt to connect has failed; a handshake on a busy machine takes a second or two. */
const CONNECT_TIMEOUT_MS = 20_000

/**
 * A lean QoS 1 publisher over mTLS: it builds packets and reads acknowledgements with as little work as can be, so that in a load test
 * the platform is what is measured.
 */
export class DeviceConnection {
  readonly #options: DeviceConnectionOptions
  readonly #encoder: PublishEncoder
  #socket: TLSSocket | undefined
  #rest: Buffer = Buffer.alloc(0)
  #nextPacketId = 1

  constructor(options: DeviceConnectionOptions) {
    this.#options = options
    this.#encoder = new PublishEncoder(`devices/${options.device}/telemetry`)
  }

  /** Resolves after CONNACK accepted; rejects with EnvironmentError CONNECT_REFUSED. */
  open(): Promise<void> {
    const { host, port, device, bundle, keepAliveS, onClosed } = this.#options
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, servername: 'localhost', key: bundle.keyPem, cert: bundle.certPem, ca: bundle.caPem })
      this.#socket = socket
      let failure: Error | undefined
      let accepted = false
      socket.setNoDelay(true)
      socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(new TimeoutError(`no CONNACK within ${CONNECT_TIMEOUT_MS} ms`)))
      socket.once('secureConnect', () => socket.write(connectPacket(device, keepAliveS)))
      socket.once('data', (bytes: Buffer) => {
        accepted = bytes[0] === 0x20 && bytes[3] === 0
        socket.setTimeout(0)
        if (!accepted) {
          failure = new EnvironmentError('CONNECT_REFUSED', `${device}: the broker answered ${bytes.subarray(0, 4).toString('hex')}`)
          socket.destroy()
          return
        }
        socket.on('data', (more: Buffer) => this.#read(more))
        const { listen } = this.#options
        if (listen !== undefined) socket.write(subscribePacket(this.#takePacketId(), `devices/${device}/${listen.path}`))
        resolve()
      })
      socket.on('error', (error: Error) => {
        failure = error
      })
      socket.on('close', () => {
        if (!accepted) reject(new EnvironmentError('CONNECT_REFUSED', `${device}: ${failure?.message ?? 'closed before CONNACK'}`, { cause: failure, retryable: true }))
        else onClosed(failure)
      })
    })
  }

  /** Sends one reading; answers its packet id. */
  publish(payload: Buffer): number {
    const packetId = this.#takePacketId()
    this.#socket?.write(this.#encoder.encode(packetId, payload))
    return packetId
  }

  /** Sends one message on another path below `devices/{device}/`; answers its packet id. */
  publishOn(path: string, payload: Buffer): number {
    const packetId = this.#takePacketId()
    this.#socket?.write(new PublishEncoder(`devices/${this.#options.device}/${path}`).encode(packetId, payload))
    return packetId
  }

  /** Sends a reading once more, as a client does that doubts that it arrived. */
  repeat(packetId: number, payload: Buffer): void {
    this.#socket?.write(this.#encoder.encode(packetId, payload, true))
  }

  /** Sends several in one write; answers their packet ids. */
  publishAll(payloads: readonly Buffer[]): number[] {
    const ids = payloads.map(() => this.#takePacketId())
    this.#socket?.write(Buffer.concat(payloads.map((payload, at) => this.#encoder.encode(ids[at] as number, payload))))
    return ids
  }

  ping(): void {
    this.#socket?.write(PINGREQ)
  }

  close(): void {
    this.#socket?.end(DISCONNECT)
  }

  /** Cuts the connection without a DISCONNECT. */
  cut(): void {
    this.#socket?.destroy()
  }

  #takePacketId(): number {
    const id = this.#nextPacketId
    this.#nextPacketId = id === PACKET_ID_MAX ? 1 : id + 1
    return id
  }

  #read(bytes: Buffer): void {
    const data = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes
    const acked: number[] = []
    let at = 0
    while (at + 2 <= data.length) {
      const type = data[at]
      if (type === PINGRESP) at += 2
      else if (type === PUBACK && at + 4 <= data.length) {
        acked.push(data.readUInt16BE(at + 2))
        at += 4
      } else if (type === PUBACK) break
      else if (type === SUBACK || (type !== undefined && (type & TYPE) === PUBLISH)) {
        const next = this.#receive(data, at)
        if (next === undefined) break
        at = next
      } else {
        this.#socket?.destroy(new EnvironmentError('UNEXPECTED_PACKET', `${this.#options.device}: packet type ${String(type)} was not expected`))
        return
      }
    }
    this.#rest = data.subarray(at)
    if (acked.length > 0) this.#options.onAcked(acked)
  }

  /** Takes a SUBACK or a PUBLISH; answers where the next packet begins, or undefined while it is not all here. */
  #receive(data: Buffer, at: number): number | undefined {
    const bounds = packetBounds(data, at)
    if (bounds === undefined || data[at] === SUBACK) return bounds?.end
    const { packetId, payload } = readPublish(data, at, bounds)
    if (packetId > 0) this.#socket?.write(pubackPacket(packetId))
    this.#options.listen?.onMessage(payload)
    return bounds.end
  }
}
