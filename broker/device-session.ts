import type { Duplex } from 'node:stream'
import type { Principal } from '../contracts/authorisation.ts'
import type { Credential } from '../contracts/credential.ts'
import type { SessionIdentity } from './identity.ts'
import { sessionIdOf, topicPrefixOf } from './names.ts'
import type { UplinkLane } from './uplink-road.ts'

export type ListenerName = 'mqtts' | 'wss'

/** A publish that waits its turn. */
export interface WaitingPublish {
  packet: UplinkPacket
  done: (error?: Error | null) => void
}

/** The parts of a PUBLISH (or a will, which has no `cmd`) that the way up needs. */
export interface UplinkPacket {
  cmd?: string
  topic: string
  payload: Buffer | string
  qos: 0 | 1 | 2
  retain: boolean
  dup?: boolean
  messageId?: number
}

/** Whoever an uplink is from: a connection, or a device that left a will behind. */
export interface Speaker {
  readonly identity: { readonly tenant: string; readonly device: string; readonly serial?: string }
  readonly principal: Principal
  readonly context: { tenant: string; device: string; listener?: string; remoteAddress?: string }
  readonly expelled: string | undefined
}

export function devicePrincipal(tenant: string, device: string): Principal {
  return { kind: 'device', id: device, tenant, roles: ['device'] }
}

export function claimPrincipal(tenant: string, claim: string): Principal {
  return { kind: 'claim', id: claim, tenant, roles: [] }
}

/** One connection of one device, from the end of its TLS handshake to its close; its identity is the certificate's. */
export class DeviceSession implements Speaker, UplinkLane {
  readonly identity: SessionIdentity
  /** What its certificate makes it: a device, or one that comes with a factory certificate, or a claim. */
  readonly credential: Credential
  readonly principal: Principal
  /** Of a factory certificate: what it is, for whoever decides about it; else empty. */
  readonly certificatePem: string
  readonly listener: ListenerName
  readonly remoteAddress: string
  /** The client id inside Aedes: tenant and device. */
  readonly sessionId: string
  readonly topicPrefix: string
  /** What every topic of this device begins with inside Aedes. */
  readonly ownPrefix: string
  readonly #socket: Duplex
  /** Why the connection is being ended from our side, once it is. */
  expelled: string | undefined
  willTopic: string | undefined
  /** Of a factory certificate: it was let in. */
  isAdmitted = false
  /** Its CONNECT was let through to a session that is held here: another edge that takes it ends this connection. */
  seated = false
  correlationId = ''

  // Hot path: what the last publish was checked to be, and the pace of this device.
  lastTopic = ''
  lastPath = ''
  lastRoute = ''
  tokens: number
  tokensAtMs: number
  waiting: WaitingPublish[] = []
  underway = 0
  nextSequence = 0
  stalled: UplinkLane['stalled']

  constructor(options: {
    identity: SessionIdentity
    credential: Credential
    certificatePem?: string
    listener: ListenerName
    remoteAddress: string
    socket: Duplex
    tokens: number
    nowMs: number
  }) {
    const { tenant, device } = options.identity
    this.identity = options.identity
    this.credential = options.credential
    this.principal = options.credential.kind === 'claim' ? claimPrincipal(tenant, device) : devicePrincipal(tenant, device)
    this.certificatePem = options.certificatePem ?? ''
    this.listener = options.listener
    this.remoteAddress = options.remoteAddress
    this.sessionId = sessionIdOf(tenant, device)
    this.topicPrefix = topicPrefixOf(tenant)
    this.ownPrefix = `${this.topicPrefix}devices/${device}/`
    this.#socket = options.socket
    this.tokens = options.tokens
    this.tokensAtMs = options.nowMs
  }

  /** What a log line or a refusal says about it. */
  get context(): { tenant: string; device: string; listener: string; remoteAddress: string } {
    const { tenant, device } = this.identity
    return { tenant, device, listener: this.listener, remoteAddress: this.remoteAddress }
  }

  get isClosed(): boolean {
    return this.#socket.destroyed
  }

  onceClosed(run: () => void): void {
    if (this.#socket.closed) run()
    else this.#socket.once('close', run)
  }

  /** Cuts the connection at once. */
  cut(): void {
    this.#socket.destroy()
  }
}
