import { readUint16 } from './framing.ts'
import type { PacketState } from './packet-state.ts'
import { checkTopicName } from './topic.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

/** A QoS 1 PUBLISH that is not retained, as `publishOf` reads it. */
export interface PlainPublish {
  topic: string
  /** A view of the bytes it came in. */
  readonly payload: Buffer
  readonly messageId: number
}

/** Is this the first byte of a QoS 1 PUBLISH that is not to be retained (§3.3.1)? A repeated one is, too. */
export function isPlainPublish(first: number): boolean {
  return (first & 0xf7) === 0x32
}

/** Reads a QoS 1 PUBLISH that was just found good: its topic is the one that `state` remembers. */
export function publishOf(bytes: Buffer, body: number, end: number, state: PacketState): PlainPublish {
  const topicEnd = body + 2 + readUint16(bytes, body)
  return { topic: state.topic, payload: bytes.subarray(topicEnd + 2, end), messageId: readUint16(bytes, topicEnd) }
}

/** Checks a whole PUBLISH (§3.3) whose first byte was found good. The hot path: no allocation, and a known topic is not read twice. */
export function checkPublish(bytes: Uint8Array, at: number, body: number, end: number, state: PacketState): Violation | undefined {
  const topicStart = body + 2
  if (topicStart > end) return VIOLATIONS.packetTooShort
  const topicEnd = topicStart + readUint16(bytes, body)
  const identified = (bytes[at]! & 0x06) !== 0
  if (topicEnd + (identified ? 2 : 0) > end) return VIOLATIONS.packetTooShort
  if (!state.isKnownTopic(bytes, topicStart, topicEnd)) {
    const fault = checkTopicName(bytes, topicStart, topicEnd, state.limits)
    if (fault !== undefined) return fault
    state.rememberTopic(bytes, topicStart, topicEnd)
  }
  if (identified && readUint16(bytes, topicEnd) === 0) return VIOLATIONS.packetIdZero // [MQTT-2.3.1-1]
  return undefined
}
