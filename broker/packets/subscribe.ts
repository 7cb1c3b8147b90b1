import { readUint16 } from './framing.ts'
import type { PacketState } from './packet-state.ts'
import { checkTopicFilter } from './topic.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

/** Checks a whole SUBSCRIBE (§3.8) whose first byte was found good. */
export function checkSubscribe(bytes: Uint8Array, body: number, end: number, state: PacketState): Violation | undefined {
  return checkFilters(bytes, body, end, state, 1)
}

/** Checks a whole UNSUBSCRIBE (§3.10) whose first byte was found good. */
export function checkUnsubscribe(bytes: Uint8Array, body: number, end: number, state: PacketState): Violation | undefined {
  return checkFilters(bytes, body, end, state, 0)
}

/** `optionBytes`: how many bytes, holding the requested QoS, follow each filter. */
function checkFilters(bytes: Uint8Array, body: number, end: number, state: PacketState, optionBytes: 0 | 1): Violation | undefined {
  if (body + 2 > end) return VIOLATIONS.packetTooShort
  if (readUint16(bytes, body) === 0) return VIOLATIONS.packetIdZero // [MQTT-2.3.1-1]
  let at = body + 2
  if (at === end) return VIOLATIONS.noFilters // [MQTT-3.8.3-3] [MQTT-3.10.3-2]
  for (let count = 1; at < end; count++) {
    if (count > state.limits.subscriptionsPerSubscribeMax) return VIOLATIONS.tooManyFilters
    const start = at + 2
    if (start > end) return VIOLATIONS.packetTooShort
    const filterEnd = start + readUint16(bytes, at)
    if (filterEnd + optionBytes > end) return VIOLATIONS.packetTooShort
    const fault = checkTopicFilter(bytes, start, filterEnd, state.limits)
    if (fault !== undefined) return fault
    if (optionBytes === 1 && bytes[filterEnd]! > 2) return VIOLATIONS.requestedQos // [MQTT-3-8.3-4]
    at = filterEnd + optionBytes
  }
  return undefined
}
