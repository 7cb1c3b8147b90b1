import type { TLSSocket } from 'node:tls'
import type { Trust } from '../contracts/credential.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import { ClientIssuers } from '../kernel/client-issuers.ts'
import type { Clock } from '../kernel/time.ts'
import type { TlsMaterial } from '../kernel/tls.ts'
import type { BrokerConfig } from './config.ts'
import { ConnectRate } from './connect-rate.ts'
import type { DeviceConnections } from './device-connections.ts'
import type { ListenerName } from './device-session.ts'
import { identityOf, type IdentityResult } from './identity.ts'
import { sessionIdOf } from './names.ts'
import type { RefusalContext, Refusals } from './refusals.ts'

/** Who may open a connection: limits before the handshake, the certificate's device after it. Every refusal is noted here. */
export class DeviceAdmission {
  readonly #config: BrokerConfig
  readonly #registry: RegistryView
  readonly #trust: Trust
  readonly #refusals: Refusals
  readonly #connections: DeviceConnections
  readonly #rate: ConnectRate
  #issuers = new ClientIssuers({})

  constructor(options: {
    config: BrokerConfig
    clock: Clock
    registry: RegistryView
    trust: Trust
    refusals: Refusals
    connections: DeviceConnections
  }) {
    this.#config = options.config
    this.#registry = options.registry
    this.#trust = options.trust
    this.#refusals = options.refusals
    this.#connections = options.connections
    this.#rate = new ConnectRate(options.clock, options.config.connectRatePerS, options.config.connectBurstMax)
  }

  /** Follows what the listeners trust. */
  trust(material: TlsMaterial): void {
    this.#issuers = new ClientIssuers(material)
  }

  /** `openSockets` counts both listeners, handshakes included. */
  admitAddress(remoteAddress: string, listener: ListenerName, openSockets: number): boolean {
    if (openSockets >= this.#config.connectionsMax) {
      this.#refusals.note('connections-max', { remoteAddress, listener })
      return false
    }
    if (this.#rate.admit(remoteAddress)) return true
    this.#refusals.note('connect-rate', { remoteAddress, listener })
    return false
  }

  /** Who a connection whose handshake is done is, or undefined when it may not stay. */
  admitCertificate(
    tls: TLSSocket,
    listener: ListenerName,
    remoteAddress: string,
  ): Extract<IdentityResult, { status: 'identified' }> | undefined {
    const result = identityOf(tls.getPeerCertificate(), this.#trust)
    if (result.status === 'refused') {
      this.#refusals.note(result.reason, { remoteAddress, listener, detail: result.detail })
      return undefined
    }
    // Whoever a factory CA signed was looked at by the trust; all others are of CAs of ours.
    if (result.credential.kind !== 'factory' && !this.#issuers.accepts(tls)) {
      this.#refusals.note('unknown-ca', { remoteAddress, listener, detail: 'signed by a CA that is not accepted, or not any more' })
      return undefined
    }
    const { tenant, device, serial, issuer } = result.identity
    const context: RefusalContext = { tenant, device, serial, remoteAddress, listener }
    const lapse = this.#trust.lapse(result.credential)
    if (lapse !== undefined) {
      this.#refusals.note('credential-lapsed', { ...context, detail: lapse })
      return undefined
    }
    const isClaim = result.credential.kind === 'claim'
    const admission = isClaim ? undefined : this.#registry.admit(tenant, device, serial, issuer)
    // A factory's device may be new: what becomes of it is asked when it sends CONNECT.
    const mayBeNew = result.credential.kind === 'factory' && admission?.status === 'refused' && admission.reason === 'unknown-device'
    if (admission?.status === 'refused' && !mayBeNew) {
      this.#refusals.note(admission.reason, context)
      return undefined
    }
    const connectionsMax = isClaim ? this.#config.connectionsPerClaimMax : this.#config.connectionsPerDeviceMax
    if (this.#connections.countOf(sessionIdOf(tenant, device)) >= connectionsMax) {
      this.#refusals.note('connections-per-device-max', context)
      return undefined
    }
    return result
  }
}
