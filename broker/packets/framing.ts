/** Answers of `packetLength` that are not a length. */
export const LENGTH_INCOMPLETE = 0
export const LENGTH_MALFORMED = -1

/**
 * Whole length, in bytes, of the packet that starts at `at`: first byte, remaining-length field and the rest (§2.2.3).
 * LENGTH_INCOMPLETE when the length field is not all there before `end`, LENGTH_MALFORMED when it takes more than four bytes.
 */
export function packetLength(bytes: Uint8Array, at: number, end: number): number {
  let length = 0
  for (let i = 1, shift = 0; i <= 4; i++, shift += 7) {
    if (at + i >= end) return LENGTH_INCOMPLETE
    const byte = bytes[at + i]!
    length |= (byte & 0x7f) << shift
    if (byte < 0x80) return 1 + i + length
  }
  return LENGTH_MALFORMED
}

/** Where the variable header starts, for a packet whose length field is known to be whole. */
export function bodyStart(bytes: Uint8Array, at: number): number {
  let body = at + 2
  while (bytes[body - 1]! >= 0x80) body++
  return body
}

/** Two bytes, big endian (§1.5.2). */
export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

export function writeUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value & 0xff
}

/** Bytes that the remaining-length field takes for `remaining`. */
export function lengthFieldBytes(remaining: number): number {
  return remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4
}

/** Writes the remaining-length field and returns the offset behind it. */
export function writeLengthField(bytes: Uint8Array, at: number, remaining: number): number {
  let rest = remaining
  while (rest >= 128) {
    bytes[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[at++] = rest
  return at
}
