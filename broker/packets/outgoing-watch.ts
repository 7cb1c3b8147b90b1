import type { Backlog } from './backlog.ts'
import { bodyStart, packetLength, readUint16, writeUint16 } from './framing.ts'
import { CONNACK, LEVEL_3_1, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK } from './packet-types.ts'
import type { PacketState } from './packet-state.ts'
import { stripTopic } from './prefixes.ts'
import type { RepeatedFilters } from './repeated-filters.ts'

const DUP = 0x08

export interface OutgoingWatchOptions {
  readonly state: PacketState
  readonly backlog: Backlog
  readonly repeatedFilters: RepeatedFilters
  /** Called when a CONNACK with return code 0 was seen. */
  readonly onAccepted: () => void
}

/**
 * Looks at what the broker sends: counts its answers, notes its deliveries and the ids they go under, takes tenant prefixes off.
 * Works in place, on bytes that belong to it.
 */
export class OutgoingWatch {
  readonly #options: OutgoingWatchOptions
  #prefix: Buffer | undefined
  #rest: Buffer | undefined

  constructor(options: OutgoingWatchOptions) {
    this.#options = options
  }

  setPrefix(topicPrefix: string): void {
    this.#prefix = topicPrefix === '' ? undefined : Buffer.from(topicPrefix)
  }

  /** Takes bytes as the broker wrote them and returns whole packets to send: `bytes` itself, a part of it, or a new buffer. */
  pass(bytes: Buffer): Buffer {
    let all = bytes
    if (this.#rest !== undefined) {
      all = Buffer.concat([this.#rest, bytes])
      this.#rest = undefined
    }
    let at = 0
    let kept = 0
    while (at < all.length) {
      const length = packetLength(all, at, all.length)
      if (length <= 0 || at + length > all.length) break
      const end = at + length
      const filled = all[at]! >>> 4 === SUBACK ? this.#options.repeatedFilters.fill(all, at, end) : undefined
      if (filled !== undefined) {
        all = Buffer.concat([all.subarray(0, kept), filled, all.subarray(end)])
        at = kept
        continue
      }
      kept = this.#packet(all, at, end, kept)
      at = end
    }
    if (at < all.length) this.#rest = Buffer.from(all.subarray(at))
    return kept === all.length ? all : all.subarray(0, kept)
  }

  /** Handles one packet and moves it to `to`; returns where it ends then. */
  #packet(bytes: Buffer, at: number, end: number, to: number): number {
    const { backlog, state } = this.#options
    switch (bytes[at]! >>> 4) {
      case PUBACK:
      case PUBREC:
        backlog.published()
        break
      case PUBCOMP:
      case SUBACK:
      case UNSUBACK:
        backlog.answered()
        break
      case PUBLISH:
        return this.#publish(bytes, at, end, to)
      case PUBREL: {
        const { deviceId, answers } = state.deliveries.released(readUint16(bytes, at + 2))
        writeUint16(bytes, at + 2, deviceId)
        if (answers) backlog.answered()
        break
      }
      case CONNACK:
        // Session present is MQTT 3.1.1's: there MQTT 3.1 has a reserved byte, which its clients may check (MQTT 3.1 §3.2).
        if (state.connect?.level === LEVEL_3_1) bytes[at + 2] = 0
        if (bytes[at + 3] === 0) this.#options.onAccepted()
        break
    }
    if (to !== at) bytes.copyWithin(to, at, end)
    return to + end - at
  }

  #publish(bytes: Buffer, at: number, end: number, to: number): number {
    const { deliveries } = this.#options.state
    const qos = (bytes[at]! >>> 1) & 3
    // The broker passes the publisher's DUP on: it must not [MQTT-3.3.1-3], and on QoS 0 it must not be set at all [MQTT-3.3.1-2].
    // In a persistent session it may tell of a repetition and stays.
    if (qos === 0 || deliveries.renumber) bytes[at]! &= ~DUP
    if (this.#prefix !== undefined) {
      const stripped = stripTopic(bytes, at, end, this.#prefix, to)
      if (stripped === to) return to
      at = to
      end = stripped
    } else if (to !== at) {
      bytes.copyWithin(to, at, end)
      end += to - at
      at = to
    }
    if (qos > 0) {
      const body = bodyStart(bytes, at)
      const idAt = body + 2 + readUint16(bytes, body)
      writeUint16(bytes, idAt, deliveries.published(readUint16(bytes, idAt), qos))
    }
    return end
  }
}
