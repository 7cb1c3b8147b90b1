import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { seededRandom, systemRandom, type Random } from '../kernel/random.ts'
import { backoffDelayMs } from '../kernel/retry.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { NOTICE_PATH, RENEW_PATH } from '../contracts/renewal.ts'
import { EstClient } from '../provisioning/doors/est-client.ts'
import { CertificateRenewal } from './certificate-renewal.ts'
import { DeviceConnection } from './device-connection.ts'
import { valueAt, type DeviceProfile, type Fault } from './device-profiles.ts'
import type { Latencies } from './latencies.ts'

export interface SimulatedDeviceOptions {
  id: string
  profile: DeviceProfile
  bundle: DeviceBundle
  host: string
  port: number
  boot: string
  seed: number
  /** Readings sent and not yet acknowledged at most; then it waits. */
  inflightMax: number
  disorder?: Disorder
  clock: Clock
  log: Logger
  ackLatencies: Latencies
  /** How it renews its certificate; without it, it does not. */
  renewal?: RenewalDoor
}

export interface RenewalDoor {
  /** Over MQTT, on topics of its own, or over EST at this origin. */
  over: 'mqtt' | { est: string }
  /** Keeps what the device would keep in its flash, before it is used. */
  keep?: (device: string, bundle: DeviceBundle) => Promise<void>
}

/** What a poor network does to publishes; shares from 0 to 1. */
export interface Disorder {
  /** Sent twice, the second time as a duplicate. */
  repeatShare: number
  /** Sent after the next one. */
  swapShare: number
}

interface Unacked {
  seq: number
  ts: number
  payload: Buffer
  sentAtMs: number
}

const KEEP_ALIVE_S = 60
const RECONNECT = { initialMs: 200, maxMs: 5_000, factor: 2, jitter: 0.5 }

/** One device: it measures, publishes with boot and seq, keeps what is not acknowledged, and sends that again after a reconnect. */
export class SimulatedDevice {
  readonly #options: SimulatedDeviceOptions
  readonly #random: Random
  readonly #phase: number
  readonly #disorderRandom: Random
  readonly #unacked = new Map<number, Unacked>()
  readonly #renewal: CertificateRenewal | undefined
  #bundle: DeviceBundle
  /** Measured, and waiting to be overtaken by the next one. */
  #held: Unacked | undefined
  #connection: DeviceConnection | undefined
  /** A new certificate is being taken into use: the old connection may end. */
  #isSwitching = false
  #connected = false
  readonly #stopping = new AbortController()
  sent = 0
  acked = 0
  reconnects = 0
  /** Sequence number of the latest acknowledged reading, and when it was sent. */
  lastAcked: { seq: number; sentAtMs: number } | undefined
  fault: Fault | undefined

  constructor(options: SimulatedDeviceOptions) {
    this.#options = options
    this.#random = seededRandom(`${options.seed}/${options.id}`)
    this.#phase = this.#random.next() * 2 * Math.PI
    this.#bundle = options.bundle
    if (options.renewal !== undefined) this.#renewal = this.#looksAfterCertificate(options.renewal)
    this.#disorderRandom = seededRandom(`${options.seed}/${options.id}/disorder`)
  }

  get id(): string {
    return this.#options.id
  }
  get boot(): string {
    return this.#options.boot
  }
  get unacked(): number {
    return this.#unacked.size + (this.#held === undefined ? 0 : 1)
  }
  /** Sent and not acknowledged: whether the platform has it is not known. */
  isUnacked(seq: number): boolean {
    if (this.#held?.seq === seq) return true
    for (const entry of this.#unacked.values()) if (entry.seq === seq) return true
    return false
  }
  /** Certificates it got in the place of its first one. */
  get renewals(): number {
    return this.#renewal?.renewals ?? 0
  }
  get isConnected(): boolean {
    return this.#connected
  }
  get isReady(): boolean {
    return this.#connected && this.#unacked.size < this.#options.inflightMax
  }

  async connect(): Promise<void> {
    const { host, port, id } = this.#options
    const renewal = this.#renewal
    const connection: DeviceConnection = new DeviceConnection({
      ...{ host, port, device: id, bundle: this.#bundle, keepAliveS: KEEP_ALIVE_S },
      onAcked: (ids) => this.#onAcked(connection, ids),
      onClosed: (error) => this.#onClosed(connection, error),
      ...(renewal === undefined ? {} : { listen: { path: NOTICE_PATH, onMessage: (payload) => renewal.take(payload) } }),
    })
    await connection.open()
    if (this.#stopping.signal.aborted) {
      connection.close()
      return
    }
    this.#connection = connection
    this.#connected = true
    const again = [...this.#unacked.values()]
    this.#unacked.clear()
    for (const entry of again) this.#unacked.set(connection.publish(entry.payload), entry)
    renewal?.resume()
  }

  /** Begins to look after the certificate that it has. */
  keepCertificate(): void {
    this.#renewal?.follow(this.#bundle)
  }

  /** Measures and publishes one reading; false when it has to wait for acknowledgements, or is silent by fault. */
  publishReading(): boolean {
    if (!this.isReady || this.#connection === undefined) return false
    const ts = this.#options.clock.nowMs()
    const fault = this.fault !== undefined && ts >= this.fault.fromTs && ts < this.fault.toTs ? this.fault : undefined
    if (fault?.kind === 'silence') return false
    const values: Record<string, number> = {}
    for (const [metric, profile] of Object.entries(this.#options.profile.metrics)) {
      values[metric] = valueAt(profile, this.#phase, ts, fault?.metric === metric ? fault : undefined, this.#random)
    }
    const seq = this.sent++
    const payload = Buffer.from(JSON.stringify({ ts, boot: this.#options.boot, seq, values }))
    this.#send({ seq, ts, payload, sentAtMs: this.#options.clock.monotonicMs() })
    return true
  }

  /** Sends what was held back to be overtaken. */
  flush(): void {
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.#publish(held)
  }

  #send(entry: Unacked): void {
    const { disorder } = this.#options
    // Of two at one instant the order of arrival is the only one there is.
    if (this.#held?.ts === entry.ts) this.flush()
    if (disorder !== undefined && this.#held === undefined && this.#disorderRandom.next() < disorder.swapShare) {
      this.#held = entry
      return
    }
    this.#publish(entry)
    this.flush()
  }

  #publish(entry: Unacked): void {
    const { disorder } = this.#options
    const packetId = this.#connection?.publish(entry.payload)
    if (packetId === undefined) return
    this.#unacked.set(packetId, entry)
    if (disorder !== undefined && this.#disorderRandom.next() < disorder.repeatShare) this.#connection?.repeat(packetId, entry.payload)
  }

  /** Tries to connect until it works or the device is stopped. */
  keepTrying(): void {
    void this.#reconnect()
  }

  ping(): void {
    if (this.#connected) this.#connection?.ping()
  }

  stop(): void {
    this.#stopping.abort()
    this.#renewal?.stop()
    this.#connection?.close()
  }

  #looksAfterCertificate({ over, keep }: RenewalDoor): CertificateRenewal {
    const { id: device, clock, log } = this.#options
    return new CertificateRenewal({
      ...{ device, clock, log },
      // Of its own: values stay those of the seed, however often it renews.
      random: seededRandom(`${this.#options.seed}/${device}/renewal`),
      ask: (csrPem, current) => (over === 'mqtt' ? this.#askOverMqtt(csrPem) : askOverEst(over.est, csrPem, current)),
      adopt: async (bundle) => {
        await keep?.(device, bundle)
        await this.#switchTo(bundle)
      },
    })
  }

  #askOverMqtt(csrPem: string): Promise<undefined> {
    // Not connected: it asks again, at the latest when it is.
    if (this.#connected) this.#connection?.publishOn(RENEW_PATH, Buffer.from(csrPem))
    return Promise.resolve(undefined)
  }

  /** A connection with the new certificate takes over from the one with the old [MQTT-3.1.4-2]; what was not acknowledged goes again. */
  async #switchTo(bundle: DeviceBundle): Promise<void> {
    this.#bundle = bundle
    // Not connected, or about to be: the next try takes the new one.
    if (!this.#connected) return
    this.#isSwitching = true
    try {
      await this.connect()
    } finally {
      this.#isSwitching = false
      if (!this.#connected) this.keepTrying()
    }
  }

  #onAcked(from: DeviceConnection, packetIds: readonly number[]): void {
    // Packet ids of another connection mean something else.
    if (from !== this.#connection) return
    const nowMs = this.#options.clock.monotonicMs()
    for (const id of packetIds) {
      const entry = this.#unacked.get(id)
      if (entry === undefined) continue
      this.#unacked.delete(id)
      this.acked++
      this.#options.ackLatencies.add(nowMs - entry.sentAtMs)
      this.lastAcked = { seq: entry.seq, sentAtMs: entry.sentAtMs }
    }
  }

  #onClosed(connection: DeviceConnection, error: Error | undefined): void {
    if (connection !== this.#connection) return
    this.#connected = false
    if (this.#stopping.signal.aborted || this.#isSwitching) return
    this.reconnects++
    this.#options.log.warn({ device: this.id, error: error === undefined ? 'closed by the broker' : describeError(error) }, 'simulated device lost its connection')
    void this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    const { clock, log } = this.#options
    for (let attempt = 1; !this.#stopping.signal.aborted; attempt++) {
      await sleep(clock, backoffDelayMs(RECONNECT, attempt, systemRandom), this.#stopping.signal)
      if (this.#stopping.signal.aborted) return
      try {
        await this.connect()
        return
      } catch (error) {
        log.debug({ device: this.id, attempt, error: describeError(error) }, 'simulated device cannot connect yet')
      }
    }
  }
}

async function askOverEst(origin: string, csrPem: string, { keyPem, certPem, caPem }: DeviceBundle): Promise<Omit<DeviceBundle, 'keyPem'>> {
  const client = new EstClient({ origin, caPem, client: { keyPem, certPem } })
  try {
    return await client.reenrol(csrPem)
  } finally {
    await client.close()
  }
}
