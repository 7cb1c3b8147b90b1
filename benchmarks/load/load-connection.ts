import net from 'node:net'
import tls from 'node:tls'
import { EnvironmentError } from '../../kernel/errors.ts'
import { systemClock } from '../../kernel/time.ts'
import type { DeviceBundle } from '../../provisioning/doors/device-bundle.ts'
import type { Latencies } from '../../simulators/latencies.ts'
import { connectPacket, DISCONNECT } from '../../simulators/mqtt-packets.ts'
import { packetIdOf, type ReadingPackets } from './reading-packets.ts'

export interface LoadConnectionOptions {
  host: string
  port: number
  device: string
  /** Certificate of the device; plain MQTT without. */
  bundle: DeviceBundle | undefined
  packets: ReadingPackets
  /** Publishes not yet acknowledged, at most. */
  inflightMax: number
  latencies: Latencies
}

/** How many publishes there are to one whose acknowledgement is timed: timing all would cost more than it tells. */
const LATENCY_SAMPLE = 16
const KEEP_ALIVE_S = 120
const PUBACK_BYTES = 4

/** One connection that keeps a fixed number of publishes in flight, and does nothing else. */
export class LoadConnection {
  readonly #options: LoadConnectionOptions
  readonly #sentAtMs = new Map<number, number>()
  #socket: net.Socket | undefined
  #rest: Buffer = Buffer.alloc(0)
  #sent = 0
  #acked = 0
  /** Publishes allowed by now, in all. */
  #allowed = 0
  /** Nothing more will be allowed. */
  #isFinal = false
  #done: { resolve: () => void; reject: (error: Error) => void } | undefined

  constructor(options: LoadConnectionOptions) {
    this.#options = options
  }

  get sent(): number {
    return this.#sent
  }
  get acked(): number {
    return this.#acked
  }

  /** Resolves after CONNACK; rejects with EnvironmentError CONNECT_REFUSED. */
  open(): Promise<void> {
    const { host, port, device, bundle } = this.#options
    return new Promise((resolve, reject) => {
      const refused = (why: string): void => reject(new EnvironmentError('CONNECT_REFUSED', `${device}: ${why}`))
      const socket =
        bundle === undefined
          ? net.connect(port, host)
          : tls.connect({ host, port, servername: 'localhost', key: bundle.keyPem, cert: bundle.certPem, ca: bundle.caPem })
      this.#socket = socket
      socket.setNoDelay(true)
      socket.once(bundle === undefined ? 'connect' : 'secureConnect', () => socket.write(connectPacket(device, KEEP_ALIVE_S)))
      socket.once('data', (answer: Buffer) => {
        if (answer[0] !== 0x20 || answer[3] !== 0) return refused(`the broker answered ${answer.toString('hex')}`)
        socket.on('data', (bytes: Buffer) => this.#read(bytes))
        resolve()
      })
      socket.on('error', (error) => {
        refused(error.message)
        this.#done?.reject(error)
      })
      socket.on('close', () => {
        refused('closed before CONNACK')
        this.#done?.reject(
          new EnvironmentError('CONNECTION_LOST', `${device}: closed after ${this.#acked} of ${this.#sent} acknowledgements`),
        )
      })
    })
  }

  /** Publishes as fast as it is acknowledged; resolves when `total` are, or all that was sent before `finish`. */
  run(total: number): Promise<void> {
    this.#allowed = total
    this.#isFinal = true
    const settled = this.#settled()
    this.#send(this.#options.inflightMax)
    return settled
  }

  /** Publishes what `pace` allows, and no more than may be in flight; resolves when all that was sent before `finish` is acknowledged. */
  runPaced(): Promise<void> {
    return this.#settled()
  }

  /** So many more publishes may go out. */
  pace(count: number): void {
    this.#allowed += count
    this.#send(this.#options.inflightMax - (this.#sent - this.#acked))
  }

  /** Sends nothing more. */
  finish(): void {
    this.#allowed = this.#sent
    this.#isFinal = true
    this.#settle()
  }

  #settled(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = { resolve, reject }
    })
  }

  #send(most: number): void {
    const count = Math.min(most, this.#allowed - this.#sent)
    if (count <= 0) return
    const nowMs = systemClock.monotonicMs()
    const last = this.#sent + count
    for (let seq = Math.ceil(this.#sent / LATENCY_SAMPLE) * LATENCY_SAMPLE; seq < last; seq += LATENCY_SAMPLE) {
      this.#sentAtMs.set(packetIdOf(seq), nowMs)
    }
    this.#socket?.write(this.#options.packets.build(this.#sent, count))
    this.#sent = last
  }

  #read(bytes: Buffer): void {
    const data = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes
    const whole = data.length - (data.length % PUBACK_BYTES)
    for (let at = 0; at < whole; at += PUBACK_BYTES) {
      if (data[at] !== 0x40) {
        this.#socket?.destroy(
          new EnvironmentError('UNEXPECTED_PACKET', `${this.#options.device}: packet type ${data[at]} was not expected`),
        )
        return
      }
      const packetId = ((data[at + 2] as number) << 8) | (data[at + 3] as number)
      const sentAtMs = this.#sentAtMs.get(packetId)
      if (sentAtMs === undefined) continue
      this.#sentAtMs.delete(packetId)
      this.#options.latencies.add(systemClock.monotonicMs() - sentAtMs)
    }
    this.#rest = data.subarray(whole)
    this.#acked += whole / PUBACK_BYTES
    this.#send(whole / PUBACK_BYTES)
    this.#settle()
  }

  #settle(): void {
    if (!this.#isFinal || this.#acked < this.#allowed || this.#done === undefined) return
    const { resolve } = this.#done
    this.#done = undefined
    this.#socket?.end(DISCONNECT)
    resolve()
  }
}
