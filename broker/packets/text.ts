import { VIOLATIONS, type Violation } from './violations.ts'

/** Checks an MQTT text (§1.5.3) in place. U+FEFF is an ordinary character [MQTT-1.5.3-3]. */
export function checkText(bytes: Uint8Array, start: number, end: number): Violation | undefined {
  let at = start
  while (at < end) {
    const byte = bytes[at]!
    if (byte >= 0x20 && byte < 0x7f) {
      at++
      continue
    }
    const size = characterBytes(bytes, at, end)
    if (size < 0) return textFault(size)
    at += size
  }
  return undefined
}

const INVALID = -1
const NULL = -2
const CONTROL = -3

/** The violation for a negative answer of `characterBytes`. */
export function textFault(answer: number): Violation {
  return answer === NULL ? VIOLATIONS.textNull : answer === CONTROL ? VIOLATIONS.textControl : VIOLATIONS.textInvalid
}

/** Length in bytes, 1 to 4, of the character at `at`; negative when it must not be in an MQTT text (see `textFault`). */
export function characterBytes(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at]!
  if (first < 0x80) {
    if (first === 0) return NULL // [MQTT-1.5.3-2]
    return first < 0x20 || first === 0x7f ? CONTROL : 1
  }
  const size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
  if (size === 0 || at + size > end) return INVALID
  let point = first & (0x7f >> size)
  for (let i = 1; i < size; i++) {
    const byte = bytes[at + i]!
    if ((byte & 0xc0) !== 0x80) return INVALID
    point = (point << 6) | (byte & 0x3f)
  }
  return pointFault(point, size)
}

function pointFault(point: number, size: number): number {
  if (size === 3 && point < 0x800) return INVALID // overlong: [MQTT-1.5.3-1] asks for the shortest form
  if (size === 4 && (point < 0x1_0000 || point > 0x10_ffff)) return INVALID
  if (point >= 0xd800 && point <= 0xdfff) return INVALID // surrogates: [MQTT-1.5.3-1]
  // §1.5.3: control characters and non-characters should not be sent, and the receiver may close; we do, as other brokers do.
  if (point >= 0x80 && point <= 0x9f) return CONTROL
  if ((point & 0xfffe) === 0xfffe || (point >= 0xfdd0 && point <= 0xfdef)) return CONTROL
  return size
}
