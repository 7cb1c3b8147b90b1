import fc from 'fast-check'
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { checkText } from './text.ts'

const SEED = 315

/** What the text may not hold although it is UTF-8: §1.5.3. */
function isBarred(point: number): boolean {
  return point < 0x20 || (point >= 0x7f && point <= 0x9f) || (point & 0xfffe) === 0xfffe || (point >= 0xfdd0 && point <= 0xfdef)
}

function isGoodText(bytes: Uint8Array): boolean {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return ![...text].some((character) => isBarred(character.codePointAt(0)!))
  } catch {
    return false
  }
}

it('agrees with the platform on any bytes', () => {
  const nearlyText = fc.array(
    fc.constantFrom(0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff),
    { maxLength: 6 },
  )
  fc.assert(
    fc.property(fc.oneof(nearlyText, fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 12 })), (values) => {
      const bytes = Uint8Array.from(values)
      assert.equal(checkText(bytes, 0, bytes.length) === undefined, isGoodText(bytes))
    }),
    { seed: SEED, numRuns: 50_000 },
  )
})

it('agrees with the platform on every code point', () => {
  for (let point = 0; point <= 0x10_ffff; point++) {
    const isSurrogate = point >= 0xd800 && point <= 0xdfff
    const bytes = isSurrogate
      ? Buffer.from([0xed, 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f)])
      : Buffer.from(String.fromCodePoint(point))
    assert.equal(checkText(bytes, 0, bytes.length) === undefined, !isSurrogate && !isBarred(point), point.toString(16))
  }
})
