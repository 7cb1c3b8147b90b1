import type { Counter } from 'prom-client'
import type { Downlink } from '../contracts/downlink.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Clock } from '../kernel/time.ts'
import type { DeviceBroker, DownPacket } from './device-broker.ts'
import { sessionIdOf, topicPrefixOf } from './names.ts'
import type { DocumentsPersistence } from './persistence/documents-persistence.ts'
import { identityOf, type LogPlace } from './persistence/log-place.ts'

/** What became of a message to a device. */
export type DownlinkResult =
  /** Written to the connected device, and queued until it acknowledges when its session is persistent. */
  | { status: 'sent' }
  /** The device is away; its persistent session has the message, durably. */
  | { status: 'queued' }
  /** Nobody is subscribed: the device is away without a persistent session, or does not listen to this topic. */
  | { status: 'unreachable' }
  /** It is in the event log, durably; the edge that holds the device, if one does, sends or queues it. */
  | { status: 'forwarded' }
  /** The bound named by `reason` was reached; nothing was queued. */
  /** The device's last certificate is revoked: nothing is sent to it or kept for it until it has another one. */
  | { status: 'cut-off' }
  | { status: 'queue-full'; reason: 'session-queue-full' | 'all-queues-full' }

/** What may be sent to a device, below `devices/{device}/`. */
const DOWN_PATH = /^(commands\/[^/+#\0]{1,128}|twin\/desired|certificate)$/

/** Room for topic and header beside a payload in the largest packet. */
const TOPIC_ROOM_BYTES = 512

/** The other edges, as a message to a device that is not held here needs them. */
export interface Forwarder {
  isReady(clientId: string): boolean
  forward(downlink: Downlink): Promise<void>
}

export interface CommandsOptions {
  broker: DeviceBroker
  persistence: DocumentsPersistence
  metrics: Metrics
  clock: Clock
  packetBytesMax: number
  queueMessagesMax: number
  /** Is the device without a valid certificate since one was revoked? */
  isCutOff: (tenant: string, device: string) => Promise<boolean>
  /** Without it every device is held here. */
  forwarder: Forwarder | undefined
  onDropped: (drop: { reason: 'session-queue-full' | 'all-queues-full'; clientId: string }) => void
}

/** Messages down to devices: QoS 1, to a connected device or into the queue of its persistent session. */
export class Commands {
  readonly #options: CommandsOptions
  readonly #payloadBytesMax: number
  readonly #counter: Counter<'status'>
  /** Messages on their way to connected devices, by session: one that does not read must not collect them in memory. */
  readonly #underway = new Map<string, number>()
  /** The last message being queued for each session: the next one waits for it, so that they go out in order. */
  readonly #last = new Map<string, Promise<void>>()
  #nextCounter = 1

  constructor(options: CommandsOptions) {
    this.#options = options
    this.#payloadBytesMax = Math.max(0, options.packetBytesMax - TOPIC_ROOM_BYTES)
    this.#counter = options.metrics.counter('broker_downlinks_total', 'Messages to devices, by what became of them', ['status'])
  }

  /** Throws InvalidInputError for a path that is no downward topic or a payload larger than a packet may be. */
  async publishDown(
    tenant: string,
    device: string,
    path: string,
    payload: Uint8Array,
    options: { retain?: boolean } = {},
  ): Promise<DownlinkResult> {
    this.#check(path, payload)
    const retain = options.retain ?? false
    const sessionId = sessionIdOf(tenant, device)
    const { forwarder, broker, clock } = this.#options
    if (forwarder !== undefined && !forwarder.isReady(sessionId)) {
      const payloadBase64 = Buffer.from(payload).toString('base64')
      await forwarder.forward({ tenant, device, path, payloadBase64, retain, at: clock.nowMs() })
      this.#counter.inc({ status: 'forwarded' })
      return { status: 'forwarded' }
    }
    if (await this.#options.isCutOff(tenant, device)) {
      this.#counter.inc({ status: 'cut-off' })
      return { status: 'cut-off' }
    }
    const identity = { brokerId: `${broker.id}/down`, brokerCounter: this.#nextCounter++ }
    const { outlook, queued, delivered } = this.#send(sessionId, packetOf({ tenant, device, path, retain }, Buffer.from(payload), identity))
    await queued
    await delivered
    return outlook
  }

  /** A message from the event log for a device that is held here; resolves when it is durable, delivery goes on by itself. */
  async deliver(sessionId: string, downlink: Downlink, place: LogPlace): Promise<void> {
    const payload = Buffer.from(downlink.payloadBase64, 'base64')
    // Whoever put it there should have known better; nobody is left to be told.
    if (!DOWN_PATH.test(downlink.path) || payload.byteLength > this.#payloadBytesMax) {
      this.#counter.inc({ status: 'invalid' })
      return
    }
    if (this.#options.persistence.queues.knows(sessionId, place)) return
    if (await this.#options.isCutOff(downlink.tenant, downlink.device)) {
      this.#counter.inc({ status: 'cut-off' })
      return
    }
    const { outlook, queued } = this.#send(sessionId, packetOf(downlink, payload, identityOf(place)))
    if (outlook.status === 'queue-full') this.#options.onDropped({ reason: outlook.reason, clientId: sessionId })
    await queued
  }

  /**
   * Takes back what waits for a device: its queue, and commands that are retained for it. Its desired twin stays, and reaches nobody
   * while the device has no valid certificate. Resolves to how many, when it is durable.
   */
  async cancel(tenant: string, device: string): Promise<number> {
    const { persistence } = this.#options
    const sessionId = sessionIdOf(tenant, device)
    const queued = persistence.queues.lengthOf(sessionId)
    const retained = [...persistence.retained.matching([`${topicPrefixOf(tenant)}devices/${device}/commands/#`])]
    await Promise.all([
      persistence.queues.delete(sessionId),
      ...retained.map((packet) => persistence.storeRetained({ ...packet, payload: Buffer.alloc(0) })),
    ])
    this.#counter.inc({ status: 'cancelled' }, queued + retained.length)
    return queued + retained.length
  }

  #check(path: string, payload: Uint8Array): void {
    if (!DOWN_PATH.test(path)) {
      throw new InvalidInputError(`"${path}" is not a topic for messages to a device`, {
        remedy: 'Use commands/{id}, where the id has no slash or wildcard, twin/desired or certificate.',
      })
    }
    if (payload.byteLength > this.#payloadBytesMax) {
      throw new InvalidInputError(`the message has ${payload.byteLength} bytes, at most ${this.#payloadBytesMax} fit into one packet`, {
        remedy: 'Send a smaller message, or raise broker.packets.packetBytesMax.',
      })
    }
  }

  #send(sessionId: string, packet: DownPacket): { outlook: DownlinkResult; queued: Promise<void>; delivered: Promise<void> } {
    const outlook = this.#outlook(sessionId, packet.topic)
    this.#counter.inc({ status: outlook.status })
    if (outlook.status === 'queue-full' || (outlook.status === 'unreachable' && !packet.retain)) {
      return { outlook, queued: NOTHING, delivered: NOTHING }
    }
    this.#underway.set(sessionId, (this.#underway.get(sessionId) ?? 0) + 1)
    const queued = this.#queue(sessionId, packet)
    const delivered = queued
      .then(
        () => this.#options.broker.emit(packet),
        // Told by `queued`.
        () => undefined,
      )
      .finally(() => this.#arrived(sessionId))
    return { outlook, queued, delivered }
  }

  #outlook(sessionId: string, topic: string): DownlinkResult {
    const { persistence, broker, queueMessagesMax } = this.#options
    const persistent = persistence.sessions.matching(topic).some(({ clientId }) => clientId === sessionId)
    const full = persistent ? persistence.queues.fullness(sessionId) : undefined
    if (full !== undefined) return { status: 'queue-full', reason: full }
    if ((this.#underway.get(sessionId) ?? 0) >= queueMessagesMax) return { status: 'queue-full', reason: 'session-queue-full' }
    if (broker.isListening(sessionId, topic)) return { status: 'sent' }
    return persistent ? { status: 'queued' } : { status: 'unreachable' }
  }

  #queue(sessionId: string, packet: DownPacket): Promise<void> {
    const { broker } = this.#options
    const before = this.#last.get(sessionId)
    const queue = (): Promise<void> => broker.queue(packet)
    const queued = before === undefined ? queue() : before.then(queue, queue)
    this.#last.set(sessionId, queued)
    const forget = (): void => {
      if (this.#last.get(sessionId) === queued) this.#last.delete(sessionId)
    }
    queued.then(forget, forget)
    return queued
  }

  #arrived(sessionId: string): void {
    const left = (this.#underway.get(sessionId) ?? 1) - 1
    if (left === 0) this.#underway.delete(sessionId)
    else this.#underway.set(sessionId, left)
  }
}

const NOTHING = Promise.resolve()

function packetOf(
  { tenant, device, path, retain }: Pick<Downlink, 'tenant' | 'device' | 'path' | 'retain'>,
  payload: Buffer,
  identity: { brokerId: string; brokerCounter: number },
): DownPacket {
  return { cmd: 'publish', qos: 1, dup: false, retain, topic: `${topicPrefixOf(tenant)}devices/${device}/${path}`, payload, ...identity }
}
