import { GENERIC_TYPE } from '../../contracts/device.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import type { RuleView } from '../../processing/rules/rules-service.ts'
import type { DeviceProfile } from '../../simulators/device-profiles.ts'
import { Latencies } from '../../simulators/latencies.ts'
import { SimulatedDevice } from '../../simulators/simulated-device.ts'
import type { Cluster } from './cluster.ts'
import { until } from './platform-process.ts'

const METRIC = 'overheating'
const LIMIT = 80
const PROFILE: DeviceProfile = {
  type: GENERIC_TYPE,
  metrics: { [METRIC]: { spec: { kind: 'number' }, level: 2 * LIMIT, swing: 0, periodS: 1, noise: 1, decimals: 1 } },
}
const CONNECT_TIMEOUT_MS = 60_000

export interface TroublesOptions {
  cluster: Cluster
  /** Where devices connect. */
  port: number
  seed: number
}

/** Devices of which each breaks a rule with its first reading: an incident apiece, through the whole road, for agents to talk about. */
export class Troubles {
  readonly #options: TroublesOptions
  readonly #idle: SimulatedDevice[] = []
  readonly #begun: SimulatedDevice[] = []

  constructor(options: TroublesOptions) {
    this.#options = options
  }

  /** The devices that went wrong. */
  get devices(): readonly string[] {
    return this.#begun.map(({ id }) => id)
  }

  /** Connects so many devices, and sets the rule that they will break. */
  async prepare(count: number): Promise<void> {
    const { cluster, port, seed } = this.#options
    const rule = { name: 'overheated', metric: METRIC, is: 'above', raise: LIMIT, severity: 'critical', remedy: 'Let it cool down.' }
    const { body } = await cluster.with('dashboard').process.post<RuleView>('/rules', rule)
    for (let i = 0; i < count; i++) {
      const id = `trouble-${i}`
      const device = new SimulatedDevice({
        ...{
          id,
          profile: PROFILE,
          bundle: await cluster.enrol(id, GENERIC_TYPE),
          host: 'localhost',
          port,
          boot: 'b1',
          seed,
          inflightMax: 5,
        },
        ...{ clock: systemClock, log: silentLogger, ackLatencies: new Latencies() },
      })
      device.keepTrying()
      this.#idle.push(device)
    }
    await until('the devices that go wrong', () => Promise.resolve(this.#idle.every(({ isConnected }) => isConnected)), CONNECT_TIMEOUT_MS)
    await until('the rule to be in force', () => Promise.resolve(systemClock.nowMs() > body.activeFrom + 1_000))
  }

  /** The next device goes wrong: at once when it is connected, else when it is again. */
  begin(): void {
    const device = this.#idle.find(({ isConnected }) => isConnected) ?? this.#idle[0]
    if (device === undefined) return
    if (!device.publishReading()) return
    this.#idle.splice(this.#idle.indexOf(device), 1)
    this.#begun.push(device)
  }

  /** Readings that nobody acknowledged yet. */
  get unacked(): number {
    return this.#begun.reduce((sum, device) => sum + device.unacked, 0)
  }

  stop(): void {
    for (const device of [...this.#idle, ...this.#begun]) device.stop()
  }
}
