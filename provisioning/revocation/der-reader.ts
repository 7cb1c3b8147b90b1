/** One element: its tag, all of its bytes, and its content. */
export interface DerElement {
  tag: number
  raw: Buffer
  content: Buffer
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const

/** Context-specific, constructed: `[number] EXPLICIT`. */
export function explicitTag(number: number): number {
  return 0xa0 | number
}

const LENGTH_OCTETS_MAX = 4

/**
 * Reads DER (X.690) from outside, element by element, no deeper than it is asked to: nesting costs nothing, and nothing is copied. Whatever
 * is not DER, or not what is asked for, is a RangeError. DER has one form for each value: lengths are definite and minimal (§10.1).
 */
export class DerReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** Tag of the next element; undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#at]
  }

  /** The next element, whatever it is. */
  element(): DerElement {
    const bytes = this.#bytes
    const start = this.#at
    const tag = bytes[start]
    const first = bytes[start + 1]
    if (tag === undefined || first === undefined) throw new RangeError('an element that ends too early')
    if ((tag & 0x1f) === 0x1f) throw new RangeError('a tag of several octets')
    const { length, octets } = this.#length(start + 1, first)
    const contentStart = start + 2 + octets
    const end = contentStart + length
    if (end > bytes.length) throw new RangeError('an element that ends too early')
    this.#at = end
    return { tag, raw: bytes.subarray(start, end), content: bytes.subarray(contentStart, end) }
  }

  /** The next element, which must have this tag. */
  expect(tag: number): DerElement {
    if (this.nextTag !== tag) throw new RangeError(`tag ${String(this.nextTag)} where ${tag} must be`)
    return this.element()
  }

  /** The next element when it has this tag. */
  optional(tag: number): DerElement | undefined {
    return this.nextTag === tag ? this.element() : undefined
  }

  /** A reader of the next element's content. */
  inside(tag: number): DerReader {
    return new DerReader(this.expect(tag).content)
  }

  /** Nothing may follow. */
  end(): void {
    if (!this.isAtEnd) throw new RangeError('something behind the last element')
  }

  #length(at: number, first: number): { length: number; octets: number } {
    if (first < 0x80) return { length: first, octets: 0 }
    const octets = first & 0x7f
    if (octets === 0 || octets > LENGTH_OCTETS_MAX || at + octets >= this.#bytes.length) throw new RangeError('a length that is none')
    const length = this.#bytes.readUIntBE(at + 1, octets)
    if (length < 0x80 || length < 2 ** (8 * (octets - 1))) throw new RangeError('a length longer than it need be')
    return { length, octets }
  }
}

/** A whole DER value: exactly one SEQUENCE. */
export function readSequence(bytes: Uint8Array): DerReader {
  const outer = new DerReader(bytes)
  const reader = outer.inside(TAG.sequence)
  outer.end()
  return reader
}

/** Dotted form of an OBJECT IDENTIFIER's content (§8.19). */
export function readObjectIdentifier({ content }: DerElement): string {
  const arcs: number[] = []
  let value = 0
  for (const [i, octet] of content.entries()) {
    value = value * 128 + (octet & 0x7f)
    if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('an object identifier with an arc too large')
    if (octet >= 0x80) {
      if (i === content.length - 1) throw new RangeError('an object identifier that ends too early')
      continue
    }
    if (arcs.length === 0) {
      const root = Math.min(2, Math.floor(value / 40))
      arcs.push(root, value - root * 40)
    } else arcs.push(value)
    value = 0
  }
  if (arcs.length === 0) throw new RangeError('an empty object identifier')
  return arcs.join('.')
}

/** Hex digits of a non-negative INTEGER, upper case, without leading zero bytes, as serials are written. */
export function readSerial({ content }: DerElement): string {
  const [first, second] = content
  if (first === undefined || first >= 0x80) throw new RangeError('a serial that is negative or empty')
  if (first === 0 && second !== undefined && second < 0x80) throw new RangeError('an integer longer than it need be')
  const bare = content.subarray(first === 0 && content.length > 1 ? 1 : 0)
  return bare.toString('hex').toUpperCase()
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/

/** Epoch ms of a UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 wants it: UTC, with seconds, without a fraction. */
export function readTime({ tag, content }: DerElement): number {
  const text = content.toString('latin1')
  const match = tag === TAG.utcTime ? UTC_TIME.exec(text) : tag === TAG.generalizedTime ? GENERALIZED_TIME.exec(text) : null
  if (match === null) throw new RangeError('no time')
  const [year = 0, month = 0, day = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1).map(Number)
  const fullYear = tag === TAG.utcTime ? (year < 50 ? 2000 + year : 1900 + year) : year
  const timeMs = Date.UTC(fullYear, month - 1, day, hours, minutes, seconds)
  // A 31st of February is taken for the 3rd of March, which it is not.
  if (new Date(timeMs).getUTCDate() !== day || month > 12 || hours > 23 || minutes > 59 || seconds > 59) throw new RangeError('no time')
  return timeMs
}

/** The bytes of a BIT STRING without unused bits. */
export function readBits({ content }: DerElement): Buffer {
  if (content[0] !== 0) throw new RangeError('a bit string with unused bits')
  return content.subarray(1)
}

export interface DerExtension {
  oid: string
  isCritical: boolean
  /** DER inside the octet string. */
  value: Buffer
}

/** Extensions ::= SEQUENCE OF Extension, RFC 5280 §4.1; one of each kind at most (§4.2). */
export function readExtensions(sequence: DerReader): DerExtension[] {
  const extensions: DerExtension[] = []
  while (!sequence.isAtEnd) {
    const one = sequence.inside(TAG.sequence)
    const oid = readObjectIdentifier(one.expect(TAG.objectIdentifier))
    // DEFAULT FALSE is said by leaving it out (X.690 §11.5); a FALSE that is there harms nobody.
    const isCritical = (one.optional(TAG.boolean)?.content[0] ?? 0) !== 0
    const { content: value } = one.expect(TAG.octetString)
    one.end()
    if (extensions.some((other) => other.oid === oid)) throw new RangeError('an extension that is there twice')
    extensions.push({ oid, isCritical, value })
  }
  return extensions
}
