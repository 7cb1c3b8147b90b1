/**
 * Reads Kafka's wire types from plain bytes. The library's reader goes through a list of buffers and makes a big integer of every
 * offset; records are read a hundred thousand a second, so they have their own.
 */
export class KafkaBytesReader {
  readonly bytes: Buffer
  at: number

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes
    this.at = at
  }

  get remaining(): number {
    return this.bytes.length - this.at
  }

  int8(): number {
    return this.bytes.readInt8(this.at++)
  }
  int16(): number {
    const value = this.bytes.readInt16BE(this.at)
    this.at += 2
    return value
  }
  int32(): number {
    const value = this.bytes.readInt32BE(this.at)
    this.at += 4
    return value
  }
  /** Offsets, times and producer ids stay below 2^53. */
  int64(): number {
    const value = this.bytes.readInt32BE(this.at) * 0x1_0000_0000 + this.bytes.readUInt32BE(this.at + 4)
    this.at += 8
    return value
  }
  unsignedVarint(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.bytes[this.at++]!
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
  }
  /** Zigzag: also longs, as far as a number holds them. */
  varint(): number {
    const byte = this.bytes[this.at]!
    if (byte < 0x80) {
      this.at++
      return (byte >>> 1) ^ -(byte & 1)
    }
    const value = this.unsignedVarint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }
  /** Text whose length is a compact one: null is the empty text. */
  compactString(): string {
    const length = this.unsignedVarint() - 1
    if (length <= 0) return ''
    const text = this.bytes.toString('utf8', this.at, this.at + length)
    this.at += length
    return text
  }
  skipTaggedFields(): void {
    for (let count = this.unsignedVarint(); count > 0; count--) {
      this.unsignedVarint()
      this.at += this.unsignedVarint()
    }
  }
  /** Length of a compact array; null is an empty one. */
  compactLength(): number {
    return Math.max(0, this.unsignedVarint() - 1)
  }
}

/** Bytes of `value` as a zigzag varint. */
export function varintBytes(value: number): number {
  let rest = value < 0 ? -value * 2 - 1 : value * 2
  let bytes = 1
  while (rest >= 0x80) {
    rest = Math.floor(rest / 128)
    bytes++
  }
  return bytes
}

/** Writes `value` as a zigzag varint and answers where the next byte goes. */
export function writeVarint(bytes: Buffer, at: number, value: number): number {
  let rest = value < 0 ? -value * 2 - 1 : value * 2
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80
    rest = Math.floor(rest / 128)
  }
  bytes[at++] = rest
  return at
}
