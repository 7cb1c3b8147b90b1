import {
  CONNECT,
  DISCONNECT,
  LEVEL_3_1,
  PINGREQ,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBSCRIBE,
  UNSUBSCRIBE,
} from './packet-types.ts'
import type { PacketState } from './packet-state.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

const DUP = 0x08
const QOS = 0x06

/** Checks a packet's first byte, before the rest of it has come: type, flags, order. */
export function checkFirstByte(first: number, state: PacketState): Violation | undefined {
  const type = first >>> 4
  const connect = state.connect
  if (type === PUBLISH && connect !== undefined) {
    if ((first & QOS) === QOS) return VIOLATIONS.publishQos // [MQTT-3.3.1-4]
    if ((first & (QOS | DUP)) === DUP) return VIOLATIONS.publishDup // [MQTT-3.3.1-2]
    return undefined
  }
  if (type === 0 || type === 15) return VIOLATIONS.reservedType
  if (connect === undefined) return type === CONNECT ? undefined : VIOLATIONS.firstNotConnect // [MQTT-3.1.0-1]
  if (type === CONNECT) return VIOLATIONS.secondConnect // [MQTT-3.1.0-2]
  return checkFlags(type, first & 0x0f, connect.level)
}

function checkFlags(type: number, flags: number, level: number): Violation | undefined {
  switch (type) {
    case PUBACK:
    case PUBREC:
    case PUBCOMP:
    case PINGREQ:
    case DISCONNECT: // [MQTT-3.14.1-1]
      return flags === 0 ? undefined : VIOLATIONS.headerFlags // [MQTT-2.2.2-1] [MQTT-2.2.2-2]
    case PUBREL: // [MQTT-3.6.1-1]
    case SUBSCRIBE: // [MQTT-3.8.1-1]
    case UNSUBSCRIBE: // [MQTT-3.10.1-1]
      // MQTT 3.1 repeats these with DUP set.
      return flags === 0x02 || (level === LEVEL_3_1 && flags === (0x02 | DUP)) ? undefined : VIOLATIONS.headerFlags
    default:
      return VIOLATIONS.serverOnlyType
  }
}
