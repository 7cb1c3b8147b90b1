import { writeLengthField } from '../framing.ts'

/** A packet: first byte, remaining length as it should be, body. */
export function packet(first: number, ...body: readonly (Buffer | number)[]): Buffer {
  const rest = bytes(...body)
  const header = Buffer.alloc(5)
  header[0] = first
  return Buffer.concat([header.subarray(0, writeLengthField(header, 1, rest.length)), rest])
}

/** Bytes one after the other; a number is one byte. */
export function bytes(...parts: readonly (Buffer | number)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : part)))
}

/** Two bytes, big endian. */
export function uint16(value: number): Buffer {
  return Buffer.from([value >>> 8, value & 0xff])
}

/** A length-prefixed field. */
export function field(value: string | Buffer): Buffer {
  const content = Buffer.from(value)
  return bytes(uint16(content.length), content)
}

export interface ConnectParts {
  readonly first?: number
  readonly name?: string
  readonly level?: number
  readonly flags?: number
  readonly keepAliveS?: number
  readonly clientId?: string | Buffer
  /** What follows the client id. */
  readonly rest?: Buffer
}

export function connect(parts: ConnectParts = {}): Buffer {
  return packet(
    parts.first ?? 0x10,
    field(parts.name ?? 'MQTT'),
    parts.level ?? 4,
    parts.flags ?? 0x02,
    uint16(parts.keepAliveS ?? 30),
    field(parts.clientId ?? 'golden'),
    parts.rest ?? Buffer.alloc(0),
  )
}

export function connack(code = 0, sessionPresent = 0): Buffer {
  return packet(0x20, sessionPresent, code)
}

export function publish(
  topic: string | Buffer,
  payload: string,
  options: { qos?: number; id?: number; dup?: boolean; retain?: boolean } = {},
): Buffer {
  const qos = options.qos ?? 0
  const first = 0x30 | (qos << 1) | (options.dup ? 0x08 : 0) | (options.retain ? 1 : 0)
  return packet(first, field(topic), qos > 0 ? uint16(options.id ?? 7) : Buffer.alloc(0), Buffer.from(payload))
}

export function acknowledge(first: number, id: number): Buffer {
  return packet(first, uint16(id))
}

export function subscribe(id: number, ...filters: readonly [string | Buffer, number][]): Buffer {
  return packet(0x82, uint16(id), ...filters.flatMap(([filter, qos]) => [field(filter), qos]))
}

export function suback(id: number, ...codes: number[]): Buffer {
  return packet(0x90, uint16(id), Buffer.from(codes))
}

export function unsubscribe(id: number, ...filters: readonly (string | Buffer)[]): Buffer {
  return packet(0xa2, uint16(id), ...filters.map((filter) => field(filter)))
}

export const PINGREQ_BYTES = Buffer.from([0xc0, 0])
export const PINGRESP_BYTES = Buffer.from([0xd0, 0])
export const DISCONNECT_BYTES = Buffer.from([0xe0, 0])
