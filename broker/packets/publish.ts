import { readUint16 } from './framing.ts'
import type { PacketState } from './packet-state.ts'
import { checkTopicName } from './topic.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

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
