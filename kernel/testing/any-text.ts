import fc from 'fast-check'

const SURROGATES_FROM = 0xd800
const SURROGATES_COUNT = 0x800
const CODE_POINT_MAX = 0x10ffff

/**
 * One code point of any kind but half a surrogate pair, drawn evenly. As fast-check's own unit `binary`, without the table of a million
 * entries that one makes for itself, which takes a second of each process.
 */
export const codePoint: fc.Arbitrary<string> = fc
  .integer({ min: 0, max: CODE_POINT_MAX - SURROGATES_COUNT })
  .map((n) => String.fromCodePoint(n < SURROGATES_FROM ? n : n + SURROGATES_COUNT), indexOf)

/** Text of any code points, up to `maxLength` of them; also the words that trip JavaScript, such as `__proto__`. */
export function anyText(constraints: { minLength?: number; maxLength?: number } = {}): fc.Arbitrary<string> {
  return fc.string({ ...constraints, unit: codePoint })
}

function indexOf(text: unknown): number {
  const n = typeof text === 'string' ? text.codePointAt(0) : undefined
  if (n === undefined || String.fromCodePoint(n) !== text || (n >= SURROGATES_FROM && n < SURROGATES_FROM + SURROGATES_COUNT))
    throw new TypeError('this is not one code point')
  return n < SURROGATES_FROM ? n : n - SURROGATES_COUNT
}
