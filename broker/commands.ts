import { InvalidInputError } from '../kernel/errors.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Counter } from 'prom-client'
import type { DeviceBroker } from './device-broker.ts'
import { sessionIdOf, topicPrefixOf } from './names.ts'
import type { DocumentsPersistence } from './persistence/documents-persistence.ts'

/** What became of a message to a device. */
export type DownlinkResult =
  /** Written to the connected device, and queued until it acknowledges when its session is persistent. */
  | { status: 'sent' }
  /** The device is away; its persistent session has the message, durably. */
  | { status: 'queued' }
  /** Nobody is subscribed: the device is away without a persistent session, or does not listen to this topic. */
  | { status: 'unreachable' }
  /** The bound named by `reason` was reached; nothing was queued. */
  | { status: 'queue-full'; reason: 'session-queue-full' | 'all-queues-full' }

/** What may be sent to a device, below `devices/{device}/`. */
const DOWN_PATH = /^(commands\/[^/+#\0]{1,128}|twin\/desired)$/

/** Room for topic and header beside a payload in the largest packet. */
const TOPIC_ROOM_BYTES = 512

/** Messages down to devices: QoS 1, to a connected device or into the queue of its persistent session. */
export class Commands {
  readonly #broker: DeviceBroker
  readonly #persistence: DocumentsPersistence
  readonly #payloadBytesMax: number
  readonly #queueMessagesMax: number
  readonly #counter: Counter<'status'>
  /** Messages on their way to connected devices, by session: one that does not read must not collect them in memory. */
  readonly #underway = new Map<string, number>()

  constructor(options: {
    broker: DeviceBroker
    persistence: DocumentsPersistence
    metrics: Metrics
    packetBytesMax: number
    queueMessagesMax: number
  }) {
    this.#broker = options.broker
    this.#persistence = options.persistence
    this.#payloadBytesMax = Math.max(0, options.packetBytesMax - TOPIC_ROOM_BYTES)
    this.#queueMessagesMax = options.queueMessagesMax
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
    const sessionId = sessionIdOf(tenant, device)
    const topic = `${topicPrefixOf(tenant)}devices/${device}/${path}`
    const outlook = this.#outlook(sessionId, topic)
    const retain = options.retain ?? false
    if (outlook.status !== 'queue-full' && (outlook.status !== 'unreachable' || retain))
      await this.#publish(sessionId, topic, payload, retain)
    this.#counter.inc({ status: outlook.status })
    return outlook
  }

  #check(path: string, payload: Uint8Array): void {
    if (!DOWN_PATH.test(path)) {
      throw new InvalidInputError(`"${path}" is not a topic for messages to a device`, {
        remedy: 'Use commands/{id}, where the id has no slash or wildcard, or twin/desired.',
      })
    }
    if (payload.byteLength > this.#payloadBytesMax) {
      throw new InvalidInputError(`the message has ${payload.byteLength} bytes, at most ${this.#payloadBytesMax} fit into one packet`, {
        remedy: 'Send a smaller message, or raise broker.packets.packetBytesMax.',
      })
    }
  }

  #outlook(sessionId: string, topic: string): DownlinkResult {
    const persistent = this.#persistence.sessions.matching(topic).some(({ clientId }) => clientId === sessionId)
    const full = persistent ? this.#persistence.queues.fullness(sessionId) : undefined
    if (full !== undefined) return { status: 'queue-full', reason: full }
    if ((this.#underway.get(sessionId) ?? 0) >= this.#queueMessagesMax) return { status: 'queue-full', reason: 'session-queue-full' }
    if (this.#broker.isListening(sessionId, topic)) return { status: 'sent' }
    return persistent ? { status: 'queued' } : { status: 'unreachable' }
  }

  async #publish(sessionId: string, topic: string, payload: Uint8Array, retain: boolean): Promise<void> {
    this.#underway.set(sessionId, (this.#underway.get(sessionId) ?? 0) + 1)
    try {
      await this.#broker.publish({ topic, payload: Buffer.from(payload), retain })
    } finally {
      const left = (this.#underway.get(sessionId) ?? 1) - 1
      if (left === 0) this.#underway.delete(sessionId)
      else this.#underway.set(sessionId, left)
    }
  }
}
