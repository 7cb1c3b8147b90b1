import { readUint16 } from './framing.ts'
import { LEVEL_3_1, LEVEL_3_1_1 } from './packet-types.ts'
import type { PacketState } from './packet-state.ts'
import { checkText } from './text.ts'
import { checkTopicName } from './topic.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

const RESERVED = 0x01
const CLEAN_SESSION = 0x02
const WILL = 0x04
const WILL_QOS = 0x18
const WILL_RETAIN = 0x20
const PASSWORD = 0x40
const USER_NAME = 0x80

/** Checks a whole CONNECT (§3.1) from `at` to `end`; when it is good, `state.connect` says what it holds. */
export function checkConnect(bytes: Buffer, at: number, body: number, end: number, state: PacketState): Violation | undefined {
  const levelAt = body + 2 + (body + 2 <= end ? readUint16(bytes, body) : 0)
  if (levelAt > end) return VIOLATIONS.packetTooShort
  const name = bytes.toString('latin1', body + 2, levelAt)
  const level = name === 'MQTT' ? LEVEL_3_1_1 : name === 'MQIsdp' ? LEVEL_3_1 : 0
  if (level === 0) return VIOLATIONS.protocolName // [MQTT-3.1.2-1]
  if (levelAt + 1 > end) return VIOLATIONS.packetTooShort
  if (bytes[levelAt] !== level) return VIOLATIONS.protocolLevel // [MQTT-3.1.2-2]
  const clientIdAt = levelAt + 4
  if (clientIdAt > end) return VIOLATIONS.packetTooShort
  const flags = usedFlags(bytes[levelAt + 1]!, level)
  const fault = checkConnectFlags(flags) ?? checkHeaderFlags(bytes[at]!, level)
  if (fault !== undefined) return fault
  const payload = new PayloadCheck(bytes, clientIdAt, end)
  payload.text() // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
  const willTopicAt = payload.at
  if ((flags & WILL) !== 0) {
    payload.topicName(state) // [MQTT-3.1.2-9] [MQTT-3.1.3-10]
    payload.binary()
  }
  if ((flags & USER_NAME) !== 0) payload.text() // [MQTT-3.1.2-19] [MQTT-3.1.3-11]
  if ((flags & PASSWORD) !== 0) payload.binary() // [MQTT-3.1.2-21]
  const payloadFault = payload.end()
  if (payloadFault !== undefined) return payloadFault
  const clientIdBytes = readUint16(bytes, clientIdAt)
  const cleanSession = (flags & CLEAN_SESSION) !== 0
  // [MQTT-3.1.3-7] [MQTT-3.1.3-8]; MQTT 3.1 asks for at least one character always.
  if (clientIdBytes === 0 && (!cleanSession || level === LEVEL_3_1)) return VIOLATIONS.emptyClientId
  if (clientIdBytes > state.limits.clientIdBytesMax) return VIOLATIONS.clientIdTooLong // [MQTT-3.1.3-5] [MQTT-3.1.3-9]
  state.connect = {
    level,
    cleanSession,
    keepAliveS: readUint16(bytes, levelAt + 2),
    clientId: bytes.toString('utf8', clientIdAt + 2, clientIdAt + 2 + clientIdBytes),
    flagsAt: levelAt + 1 - at,
    clientIdAt: clientIdAt - at,
    willTopicAt: (flags & WILL) !== 0 ? willTopicAt - at : undefined,
  }
  state.deliveries.renumber = cleanSession
  return undefined
}

/** The flags that mean something: MQTT 3.1 leaves the reserved bit, and the will's bits without a will, to chance. */
export function usedFlags(flags: number, level: number): number {
  if (level !== LEVEL_3_1) return flags
  const unused = RESERVED | ((flags & WILL) === 0 ? WILL_QOS | WILL_RETAIN : 0)
  return flags & ~unused
}

function checkHeaderFlags(first: number, level: number): Violation | undefined {
  // [MQTT-2.2.2-2]; MQTT 3.1 says of the header flags of CONNECT only that they are not used.
  return (first & 0x0f) === 0 || level === LEVEL_3_1 ? undefined : VIOLATIONS.headerFlags
}

function checkConnectFlags(flags: number): Violation | undefined {
  if ((flags & RESERVED) !== 0) return VIOLATIONS.connectReserved // [MQTT-3.1.2-3]
  if ((flags & WILL) === 0 && (flags & (WILL_QOS | WILL_RETAIN)) !== 0) return VIOLATIONS.willFlags // [MQTT-3.1.2-11] [-13] [-15]
  if ((flags & WILL_QOS) === WILL_QOS) return VIOLATIONS.willQos // [MQTT-3.1.2-14]
  if ((flags & (USER_NAME | PASSWORD)) === PASSWORD) return VIOLATIONS.passwordAlone // [MQTT-3.1.2-22]
  return undefined
}

/** Walks the length-prefixed fields of the payload, in their fixed order [MQTT-3.1.3-1], keeping the first fault. */
class PayloadCheck {
  at: number
  readonly #bytes: Buffer
  readonly #end: number
  #fault: Violation | undefined

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
  }

  text(): void {
    this.#field((start, end) => checkText(this.#bytes, start, end))
  }

  topicName(state: PacketState): void {
    this.#field((start, end) => checkTopicName(this.#bytes, start, end, state.limits))
  }

  binary(): void {
    this.#field(() => undefined)
  }

  end(): Violation | undefined {
    // [MQTT-3.1.2-18] [MQTT-3.1.2-20]: what no flag announced must not be there.
    return this.#fault ?? (this.at === this.#end ? undefined : VIOLATIONS.packetTooLong)
  }

  #field(check: (start: number, end: number) => Violation | undefined): void {
    if (this.#fault !== undefined) return
    const start = this.at + 2
    const end = start <= this.#end ? start + readUint16(this.#bytes, this.at) : start
    if (end > this.#end) this.#fault = VIOLATIONS.packetTooShort
    else this.#fault = check(start, end)
    this.at = end
  }
}
