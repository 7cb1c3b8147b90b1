import type { Histogram } from 'prom-client'
import type { RegistryView } from '../contracts/registry-view.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Clock } from '../kernel/time.ts'
import type { DeviceConnections } from './device-connections.ts'
import type { DeviceSession } from './device-session.ts'
import { sessionIdOf } from './names.ts'

/** Revocation is promised in under a second; the buckets show where in it. */
const EXPULSION_BUCKETS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 5] as const

/** Ends the live connections of a device that may no longer be here, at once and on every listener. */
export class Expulsion {
  readonly #connections: DeviceConnections
  readonly #clock: Clock
  readonly #log: Logger
  readonly #seconds: Histogram

  constructor(options: { connections: DeviceConnections; clock: Clock; log: Logger; metrics: Metrics }) {
    this.#connections = options.connections
    this.#clock = options.clock
    this.#log = options.log
    this.#seconds = options.metrics.histogram(
      'broker_expulsion_seconds',
      'From the registry saying that a device must go to the close of its last connection',
      EXPULSION_BUCKETS_S,
    )
  }

  /** Starts listening; returns the way to stop. */
  follow(registry: RegistryView): () => void {
    return registry.onExpelled(({ tenant, device, serial, reason }) => {
      const sessions = this.#connections
        .of(sessionIdOf(tenant, device))
        .filter((session) => serial === undefined || session.identity.serial === serial)
      if (sessions.length > 0) this.#end(sessions, reason)
    })
  }

  #end(sessions: readonly DeviceSession[], reason: string): void {
    const startedMs = this.#clock.monotonicMs()
    let open = sessions.length
    for (const session of sessions) {
      session.expelled = reason
      session.onceClosed(() => {
        if (--open === 0) this.#seconds.observe((this.#clock.monotonicMs() - startedMs) / 1_000)
      })
      session.cut()
      this.#log.warn({ ...session.context, reason }, 'device expelled')
    }
  }
}
