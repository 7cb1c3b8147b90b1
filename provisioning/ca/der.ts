/**
 * Writes ASN.1 DER (X.690), just what CRLs, requests, PKCS#7 answers and EST's csrattrs need, and finds where an element ends. The certificate library's own CRL builder compares each entry with
 * all others, which would hold the event loop for seconds at ten thousand revoked certificates.
 */

function element(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([tag]), lengthOctets(content.length), content])
}

function lengthOctets(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length])
  const octets: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256)
  return Buffer.from([0x80 | octets.length, ...octets])
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return element(0x30, Buffer.concat(parts))
}

export function set(...parts: readonly Uint8Array[]): Buffer {
  return element(0x31, Buffer.concat(parts))
}

/** A non-negative INTEGER from hex digits. */
export function integerFromHex(hex: string): Buffer {
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  let first = 0
  while (first < bytes.length - 1 && bytes[first] === 0) first++
  const minimal = bytes.subarray(first)
  return element(0x02, (minimal[0] as number) > 0x7f ? Buffer.concat([Buffer.from([0]), minimal]) : minimal)
}

export const NULL = element(0x05, new Uint8Array())

export function enumerated(value: number): Buffer {
  return element(0x0a, Buffer.from([value]))
}

export function octetString(content: Uint8Array): Buffer {
  return element(0x04, content)
}

export function utf8String(text: string): Buffer {
  return element(0x0c, Buffer.from(text, 'utf8'))
}

/** A BIT STRING without unused bits. */
export function bitString(content: Uint8Array): Buffer {
  return element(0x03, Buffer.concat([Buffer.from([0]), content]))
}

/** Context-specific, constructed: `[number] EXPLICIT`. */
export function explicit(number: number, content: Uint8Array): Buffer {
  return element(0xa0 | number, content)
}

/** Context-specific, primitive: `[number] IMPLICIT` of a string type. */
export function implicitPrimitive(number: number, content: Uint8Array): Buffer {
  return element(0x80 | number, content)
}

/** Context-specific, constructed: `[number] IMPLICIT` of a SEQUENCE. */
export function implicitConstructed(number: number, ...parts: readonly Uint8Array[]): Buffer {
  return element(0xa0 | number, Buffer.concat(parts))
}

/** OBJECT IDENTIFIER from its dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const octets = [first * 40 + second]
  for (const arc of rest) {
    const groups = [arc % 128]
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) groups.unshift(0x80 | (high % 128))
    octets.push(...groups)
  }
  return element(0x06, Buffer.from(octets))
}

/** GeneralizedTime in UTC with seconds and no fraction, whatever the year. RFC 6960 §4.2.2.1 */
export function generalizedTime(timeMs: number): Buffer {
  return element(0x18, Buffer.from(digitsOf(timeMs), 'ascii'))
}

function digitsOf(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/[-:T]|\.\d+/g, '')
}

/** UTCTime up to 2049 and GeneralizedTime from 2050 on, in UTC with seconds and no fraction. RFC 5280 §4.1.2.5 */
export function time(timeMs: number): Buffer {
  const digits = digitsOf(timeMs)
  const general = Number(digits.slice(0, 4)) >= 2050
  return element(general ? 0x18 : 0x17, Buffer.from(general ? digits : digits.slice(2), 'ascii'))
}

/**
 * Bounds of the SEQUENCE at `start` (X.690 §8.1): its own start, its content's start, and its end. Throws RangeError when there is none,
 * when its length is not written in the definite form in at most three octets, or when it ends after the bytes do.
 */
export function sequenceAt(der: Uint8Array, start: number): { start: number; contentStart: number; end: number } {
  const first = der[start + 1] ?? 0
  const octets = first < 0x80 ? 0 : first & 0x7f
  if (der[start] !== 0x30 || first === 0x80 || octets > 3) throw new RangeError('not a DER SEQUENCE')
  let length = octets === 0 ? first : 0
  for (let i = 0; i < octets; i++) length = length * 256 + (der[start + 2 + i] ?? Infinity)
  const contentStart = start + 2 + octets
  if (contentStart + length > der.length) throw new RangeError('a DER SEQUENCE that ends too early')
  return { start, contentStart, end: contentStart + length }
}
