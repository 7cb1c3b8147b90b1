import type { Logger } from '../kernel/log.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { DeviceBroker, SeatKeeper } from './device-broker.ts'
import type { DeviceConnections } from './device-connections.ts'
import type { DeviceSession } from './device-session.ts'
import type { Edge } from './edges/edge.ts'
import type { LeftWills } from './left-wills.ts'
import type { DocumentsPersistence } from './persistence/documents-persistence.ts'
import type { UplinkGate } from './uplink-gate.ts'

/** How often a connection that was cut is looked at until it has ended, in ms. */
const LOOK_MS = 2

export interface SeatedDevicesOptions {
  connections: DeviceConnections
  broker: DeviceBroker
  gate: UplinkGate
  persistence: DocumentsPersistence
  leftWills: LeftWills
  clock: Clock
  log: Logger
  releaseTimeoutMs: number
}

/** The connections of the devices that this edge holds, as they come with a seat and go with it. */
export class SeatedDevices {
  readonly #options: SeatedDevicesOptions

  constructor(options: SeatedDevicesOptions) {
    this.#options = options
  }

  /** A device connects when the edge holds it, and what its last connection left behind is said. */
  keeper(edge: Edge): SeatKeeper {
    const { leftWills, clock, releaseTimeoutMs } = this.#options
    return {
      isReady: (clientId) => edge.isReady(clientId) && leftWills.of(clientId) === undefined,
      take: async (clientId) => {
        const result = edge.isReady(clientId) ? 'held' : await edge.take(clientId)
        const will = leftWills.of(clientId)
        if (will === undefined) return result
        await Promise.race([will, sleep(clock, releaseTimeoutMs)])
        leftWills.forget(clientId)
        return result
      },
    }
  }

  /** Another edge has the device now [MQTT-3.1.4-2]: its connections here end, and what they have under way is waited for. */
  async vacate(clientId: string): Promise<void> {
    const { connections, broker, gate, persistence, log } = this.#options
    const sessions = connections.of(clientId).filter(({ seated }) => seated)
    for (const session of sessions) {
      session.cut()
      log.info(session.context, 'device connected to another edge')
    }
    await this.#wait(() => !broker.isLive(clientId) && !gate.isBusy(clientId, sessions) && persistence.wills.get(clientId) === undefined)
  }

  /** Other edges hold every device by now, and have said what was left behind: connections end without a last word. */
  async endAll(): Promise<void> {
    const { connections, broker } = this.#options
    const sessions: readonly DeviceSession[] = [...connections.all()].filter(({ seated }) => seated)
    for (const session of sessions) {
      session.expelled = 'session-taken'
      session.cut()
    }
    await this.#wait(() => !sessions.some(({ sessionId }) => broker.isLive(sessionId)))
  }

  /** Does nothing depend on the device's being held here? */
  isIdle(clientId: string): boolean {
    const { connections, broker, gate, persistence } = this.#options
    const isConnected = connections.countOf(clientId) > 0 || broker.isLive(clientId)
    if (isConnected || gate.isBusy(clientId, [])) return false
    return !persistence.sessions.has(clientId) && persistence.wills.get(clientId) === undefined
  }

  async #wait(isDone: () => boolean): Promise<void> {
    const { clock, releaseTimeoutMs } = this.#options
    const untilMs = clock.monotonicMs() + releaseTimeoutMs
    while (!isDone() && clock.monotonicMs() < untilMs) await sleep(clock, LOOK_MS)
  }
}
