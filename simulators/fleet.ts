import { describeError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { Logger } from '../kernel/log.ts'
import { seededRandom } from '../kernel/random.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import type { DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { PROFILES, type DeviceProfile, type Fault } from './device-profiles.ts'
import { faultPlan } from './fault-plan.ts'
import { Latencies } from './latencies.ts'
import { SimulatedDevice, type Disorder, type RenewalDoor } from './simulated-device.ts'

export interface FleetOptions {
  devices: number
  /** Readings per second of the whole fleet. */
  ratePerS: number
  seed: number
  idPrefix: string
  host: string
  mqttsPort: number
  clock: Clock
  log: Logger
  /** Gets a device its certificate. */
  enrol: (device: string, type: string) => Promise<DeviceBundle>
  inflightMax: number
  /** How a device renews its certificate; none does without it. */
  renewal?: (device: string) => RenewalDoor
  /** Publishes repeated and out of order; none when undefined. */
  disorder?: Disorder
  /** Faults: none when undefined. Times in ms. */
  faults?: { quietMs: number; everyMs: number; lastsMs: number }
  onProgress?: (what: 'enrolled' | 'connected', done: number) => void
}

/** A pace finer than this costs more than it shows. */
const TICK_MS = 10
const PING_MS = 20_000
const ENROL_AT_ONCE = 8
const CONNECT_AT_ONCE = 25
/** A fleet that runs for months remembers its latest faults. */
const FAULTS_KEPT_MAX = 10_000

/** A seeded fleet: the same seed gives the same devices, values and faults. */
export class Fleet {
  readonly #options: FleetOptions
  readonly ackLatencies = new Latencies()
  readonly devices: SimulatedDevice[] = []
  readonly faults: Fault[] = []
  #timers: Timer[] = []
  #stopped = false

  constructor(options: FleetOptions) {
    this.#options = options
  }

  /** The devices this fleet will have, with their types. */
  plan(): { id: string; profile: DeviceProfile }[] {
    const { devices, idPrefix } = this.#options
    const digits = String(devices).length
    return Array.from({ length: devices }, (_, i) => {
      const profile = PROFILES[i % PROFILES.length] as DeviceProfile
      return { id: `${idPrefix}${profile.type}-${String(i + 1).padStart(digits, '0')}`, profile }
    })
  }

  /** Enrols and connects every device. */
  async connect(): Promise<void> {
    const { clock, log, seed, host, mqttsPort, inflightMax, disorder, enrol, renewal, onProgress } = this.#options
    const boot = newId(clock.nowMs()).slice(0, 12)
    let enrolled = 0
    await inSlices(this.plan(), ENROL_AT_ONCE, async ({ id, profile }) => {
      if (this.#stopped) return
      const bundle = await enrol(id, profile.type)
      const device = new SimulatedDevice({
        ...{ id, profile, bundle, host, port: mqttsPort, boot, seed, inflightMax, clock, log, ackLatencies: this.ackLatencies },
        ...(renewal === undefined ? {} : { renewal: renewal(id) }),
        ...(disorder === undefined ? {} : { disorder }),
      })
      this.devices.push(device)
      device.keepCertificate()
      onProgress?.('enrolled', ++enrolled)
    })
    this.devices.sort((a, b) => (a.id < b.id ? -1 : 1))
    await this.#connectAll()
  }

  /** One device that is refused (revoked, say) does not keep the others out; it goes on trying. Throws when none gets in. */
  async #connectAll(): Promise<void> {
    const { log, onProgress } = this.#options
    let connected = 0
    let refusal: Error | undefined
    await inSlices(this.devices, CONNECT_AT_ONCE, async (device) => {
      if (this.#stopped) return
      try {
        await device.connect()
        onProgress?.('connected', ++connected)
      } catch (error) {
        refusal = error instanceof Error ? error : new Error(describeError(error))
        log.warn({ device: device.id, error: describeError(error) }, 'simulated device is refused')
        device.keepTrying()
      }
    })
    if (connected === 0 && refusal !== undefined) throw refusal
  }

  /** Begins to publish, at the asked rate, evenly over the devices. */
  run(): void {
    if (this.#stopped) return
    const { clock, log, ratePerS, seed, faults } = this.#options
    const startMs = clock.monotonicMs()
    const intervalMs = (1_000 * this.devices.length) / ratePerS
    const random = seededRandom(`phases-${seed}`)
    const dueMs = this.devices.map(() => startMs + random.next() * intervalMs)
    const planned = faults === undefined ? undefined : faultPlan({ seed, devices: this.plan(), startTs: clock.nowMs(), ...faults })
    let next = planned?.next().value
    const tick = (): void => {
      const nowMs = clock.monotonicMs()
      while (planned !== undefined && next !== undefined && clock.nowMs() >= next.fromTs) {
        this.#begin(next)
        next = planned.next().value
      }
      for (const [i, device] of this.devices.entries()) {
        while ((dueMs[i] as number) <= nowMs) {
          dueMs[i] = (dueMs[i] as number) + intervalMs
          if (!device.publishReading()) break
        }
      }
    }
    const report = (error: unknown): void => log.error({ error }, 'simulated fleet failed')
    this.#timers = [every(clock, TICK_MS, tick, report), every(clock, PING_MS, () => this.devices.forEach((device) => device.ping()), report)]
  }

  /** Stops publishing; connections stay, so that acknowledgements still arrive. */
  pause(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#timers = []
    for (const device of this.devices) device.flush()
  }

  stop(): void {
    this.#stopped = true
    this.pause()
    for (const device of this.devices) device.stop()
  }

  totals(): { sent: number; acked: number; unacked: number; reconnects: number; renewals: number } {
    const total = { sent: 0, acked: 0, unacked: 0, reconnects: 0, renewals: 0 }
    for (const device of this.devices) {
      total.sent += device.sent
      total.acked += device.acked
      total.unacked += device.unacked
      total.reconnects += device.reconnects
      total.renewals += device.renewals
    }
    return total
  }

  #begin(fault: Fault): void {
    this.faults.push(fault)
    if (this.faults.length > FAULTS_KEPT_MAX) this.faults.shift()
    const device = this.devices.find((candidate) => candidate.id === fault.device)
    if (device !== undefined) device.fault = fault
    this.#options.log.info({ device: fault.device, metric: fault.metric, kind: fault.kind, untilTs: fault.toTs }, 'simulated fault begins')
  }
}

/** Runs `work` on every item, a bounded number at a time, in order of the list. */
async function inSlices<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}
