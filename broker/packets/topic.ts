import type { PacketLimits } from './limits.ts'
import { characterBytes, textFault } from './text.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23

/** Checks a topic name: the topic of a PUBLISH or of a will. */
export function checkTopicName(bytes: Uint8Array, start: number, end: number, limits: PacketLimits): Violation | undefined {
  return checkTopic(bytes, start, end, limits, false)
}

/** Checks a topic filter: of SUBSCRIBE or UNSUBSCRIBE. In 3.1.1 `$share/…` is a filter like any other. */
export function checkTopicFilter(bytes: Uint8Array, start: number, end: number, limits: PacketLimits): Violation | undefined {
  return checkTopic(bytes, start, end, limits, true)
}

function checkTopic(bytes: Uint8Array, start: number, end: number, limits: PacketLimits, filter: boolean): Violation | undefined {
  if (start === end) return VIOLATIONS.topicEmpty // [MQTT-4.7.3-1]
  if (end - start > limits.topicBytesMax) return VIOLATIONS.topicTooLong
  let levels = 1
  let at = start
  while (at < end) {
    const byte = bytes[at]!
    if (byte === SLASH) levels++
    else if (byte === PLUS || byte === HASH) {
      if (!filter) return VIOLATIONS.topicWildcard // [MQTT-3.3.2-2] [MQTT-4.7.1-1]
      const alone = (at === start || bytes[at - 1] === SLASH) && (at + 1 === end || bytes[at + 1] === SLASH)
      if (!alone || (byte === HASH && at + 1 !== end)) return VIOLATIONS.filterWildcard // [MQTT-4.7.1-2] [MQTT-4.7.1-3]
    } else if (byte < 0x20 || byte >= 0x7f) {
      const size = characterBytes(bytes, at, end)
      if (size < 0) return textFault(size) // [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2]
      at += size - 1
    }
    at++
  }
  return levels > limits.topicLevelsMax ? VIOLATIONS.topicTooDeep : undefined
}
