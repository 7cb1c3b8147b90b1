/** Length-prefixed UTF-8 [MQTT-1.5.3]. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** Remaining length as a variable byte integer (MQTT 3.1.1 §2.2.3). */
function remainingLength(length: number): Buffer {
  const bytes: number[] = []
  let rest = length
  do {
    const low = rest % 128
    rest = Math.floor(rest / 128)
    bytes.push(rest > 0 ? low | 0x80 : low)
  } while (rest > 0)
  return Buffer.from(bytes)
}

function packet(firstByte: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([firstByte]), remainingLength(body.length), body])
}

const CLEAN_SESSION = 0x02
const PROTOCOL_LEVEL_3_1_1 = 4

export function connectPacket(clientId: string, keepAliveS: number): Buffer {
  const keepAlive = Buffer.alloc(2)
  keepAlive.writeUInt16BE(keepAliveS)
  return packet(0x10, Buffer.concat([text('MQTT'), Buffer.from([PROTOCOL_LEVEL_3_1_1, CLEAN_SESSION]), keepAlive, text(clientId)]))
}

export const PINGREQ = Buffer.from([0xc0, 0])
export const DISCONNECT = Buffer.from([0xe0, 0])

/** Writes QoS 1 PUBLISH packets of one topic, all in one buffer. */
export class PublishEncoder {
  readonly #topic: Buffer

  constructor(topic: string) {
    this.#topic = text(topic)
  }

  /** Answers the bytes of one packet. */
  encode(packetId: number, payload: Buffer): Buffer {
    const head = Buffer.alloc(2)
    head.writeUInt16BE(packetId)
    return packet(0x32, Buffer.concat([this.#topic, head, payload]))
  }
}
