import type { Histogram } from 'prom-client'
import { isSameCertificate } from '../contracts/certificate.ts'
import type { Trust } from '../contracts/credential.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import type { Logger } from '../kernel/log.ts'
import { REVOCATION_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import type { Clock } from '../kernel/time.ts'
import type { DeviceConnections } from './device-connections.ts'
import type { DeviceSession } from './device-session.ts'
import { sessionIdOf } from './names.ts'

/** Ends the live connections of a device that may no longer be here, at once and on every listener. */
export class Expulsion {
  readonly #connections: DeviceConnections
  readonly #clock: Clock
  readonly #log: Logger
  readonly #seconds: Histogram
  readonly #revocationSeconds: Histogram<'listener'>

  constructor(options: { connections: DeviceConnections; clock: Clock; log: Logger; metrics: Metrics }) {
    this.#connections = options.connections
    this.#clock = options.clock
    this.#log = options.log
    this.#seconds = options.metrics.histogram(
      'broker_expulsion_seconds',
      'From the registry saying that a device must go to the close of its last connection',
      REVOCATION_BUCKETS_S,
    )
    this.#revocationSeconds = options.metrics.histogram(
      'broker_revocation_seconds',
      'From the call that revoked a certificate, in whichever process, to the close of each of its sessions here',
      REVOCATION_BUCKETS_S,
      ['listener'],
    )
  }

  /** Starts listening; returns the way to stop. */
  follow(registry: RegistryView): () => void {
    return registry.onExpelled(({ tenant, device, serial, issuer, reason, at }) => {
      const sessions = this.#connections
        .of(sessionIdOf(tenant, device))
        .filter(({ identity }) => serial === undefined || isSameCertificate(identity, { serial, issuer }))
      if (sessions.length > 0) this.#end(sessions, reason, serial === undefined ? undefined : at)
    })
  }

  /** Ends the connections of those whose factory CA or claim does not count any more. */
  endLapsed(trust: Trust): void {
    for (const session of [...this.#connections.all()]) {
      const lapse = trust.lapse(session.credential)
      if (lapse !== undefined) this.#end([session], lapse, undefined)
    }
  }

  #end(sessions: readonly DeviceSession[], reason: string, revokedAtMs: number | undefined): void {
    const startedMs = this.#clock.monotonicMs()
    let open = sessions.length
    for (const session of sessions) {
      session.expelled = reason
      session.onceClosed(() => {
        // Wall clocks of two machines may differ by more than it took.
        if (revokedAtMs !== undefined) {
          const tookMs = Math.max(0, this.#clock.nowMs() - revokedAtMs)
          this.#revocationSeconds.observe({ listener: session.listener }, tookMs / 1_000)
        }
        if (--open === 0) this.#seconds.observe((this.#clock.monotonicMs() - startedMs) / 1_000)
      })
      session.cut()
      this.#log.warn({ ...session.context, reason }, 'device expelled')
    }
  }
}
