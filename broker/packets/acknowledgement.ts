import { readUint16 } from './framing.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

/** Checks the body of a PUBACK, PUBREC, PUBREL or PUBCOMP (§3.4 to §3.7): a packet identifier and nothing else. */
export function checkAcknowledgement(bytes: Uint8Array, body: number, end: number): Violation | undefined {
  if (body + 2 > end) return VIOLATIONS.packetTooShort
  if (body + 2 < end) return VIOLATIONS.packetTooLong
  return readUint16(bytes, body) === 0 ? VIOLATIONS.packetIdZero : undefined // [MQTT-2.3.1-1]
}

/** Checks the body of a PINGREQ or DISCONNECT (§3.12, §3.14): there is none. */
export function checkEmpty(body: number, end: number): Violation | undefined {
  return body === end ? undefined : VIOLATIONS.packetTooLong
}
