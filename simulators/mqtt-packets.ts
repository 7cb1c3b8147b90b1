/** Length-prefixed UTF-8 [MQTT-1.5.3]. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
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

/** One filter, QoS 1. */
export function subscribePacket(packetId: number, filter: string): Buffer {
  return packet(0x82, Buffer.concat([uint16(packetId), text(filter), Buffer.from([1])]))
}

export function pubackPacket(packetId: number): Buffer {
  return packet(0x40, uint16(packetId))
}
const PUBLISH_QOS_1 = 0x32
const DUP = 0x08

export const PINGREQ = Buffer.from([0xc0, 0])
export const DISCONNECT = Buffer.from([0xe0, 0])

/** Writes QoS 1 PUBLISH packets of one topic, all in one buffer. */
export class PublishEncoder {
  readonly #topic: Buffer

  constructor(topic: string) {
    this.#topic = text(topic)
  }

  /** Answers the bytes of one packet; `again` sets DUP [MQTT-3.3.1-1]. */
  encode(packetId: number, payload: Buffer, again = false): Buffer {
    return packet(again ? PUBLISH_QOS_1 | DUP : PUBLISH_QOS_1, Buffer.concat([this.#topic, uint16(packetId), payload]))
  }
}

/** A PUBLISH as it came: `packetId` 0 for QoS 0. */
export interface ReceivedPublish {
  topic: string
  payload: Buffer
  packetId: number
}

/** Where a packet's fixed header ends and the packet itself does; undefined while not all of it is here (MQTT 3.1.1 §2.2). */
export function packetBounds(data: Buffer, at: number): { bodyStart: number; end: number } | undefined {
  let length = 0
  for (let i = 0; i < 4; i++) {
    const byte = data[at + 1 + i]
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 128 ** i
    if ((byte & 0x80) !== 0) continue
    const bodyStart = at + 2 + i
    return bodyStart + length <= data.length ? { bodyStart, end: bodyStart + length } : undefined
  }
  return undefined
}

/** Reads the PUBLISH whose first byte is at `at`. */
export function readPublish(data: Buffer, at: number, bounds: { bodyStart: number; end: number }): ReceivedPublish {
  const qos = ((data[at] as number) >> 1) & 3
  const topicEnd = bounds.bodyStart + 2 + data.readUInt16BE(bounds.bodyStart)
  const topic = data.toString('utf8', bounds.bodyStart + 2, topicEnd)
  const payloadStart = qos > 0 ? topicEnd + 2 : topicEnd
  return { topic, payload: Buffer.from(data.subarray(payloadStart, bounds.end)), packetId: qos > 0 ? data.readUInt16BE(topicEnd) : 0 }
}
