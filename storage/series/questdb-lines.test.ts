import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../kernel/testing/any-text.ts'
import { LineBuffer } from './questdb-lines.ts'

function written(put: (lines: LineBuffer) => void, sizeBytes = 16): Buffer {
  const lines = new LineBuffer(sizeBytes)
  put(lines)
  return Buffer.from(lines.written)
}

describe('lines for QuestDB', () => {
  test('hold any safe integer in decimal', () => {
    const edges = [
      0,
      1,
      9,
      10,
      999_999_999,
      1_000_000_000,
      1_000_000_001,
      10 ** 17,
      10 ** 15 + 1,
      Number.MAX_SAFE_INTEGER,
      -1,
      Number.MIN_SAFE_INTEGER,
    ]
    for (const value of edges) assert.equal(written((lines) => lines.putInteger(value)).toString(), `${value}i`)
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        assert.equal(written((lines) => lines.putInteger(value)).toString(), `${value}i`)
      }),
    )
  })

  test('hold instants in microseconds', () => {
    for (const ms of [0, 1, 1_763_683_200_123, 253_402_300_799_999]) {
      assert.equal(written((lines) => lines.putTime(ms)).toString(), `${BigInt(ms) * 1000n}t`)
    }
  })

  test('hold doubles as their bytes, lowest first', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (value) => {
        const bytes = written((lines) => lines.putDouble(value))
        assert.deepEqual([...bytes.subarray(0, 2)], [0x3d, 0x10])
        assert.ok(Object.is(bytes.readDoubleLE(2), value))
        assert.equal(bytes.length, 10)
      }),
    )
  })

  test('no text can end its own quotes, its field or its line', () => {
    fc.assert(
      fc.property(anyText(), (text) => {
        const quoted = written((lines) => lines.putText(text)).toString()
        assert.equal(quoted.slice(1, -1).replace(/\\([\s\S])/g, '$1'), text)
        assert.doesNotMatch(quoted.slice(1, -1).replace(/\\[\s\S]/g, ''), /["\\\n\r]/)
        const symbol = written((lines) => lines.putSymbol(text)).toString()
        assert.equal(symbol.replace(/\\([\s\S])/g, '$1'), text)
        assert.doesNotMatch(symbol.replace(/\\[\s\S]/g, ''), /[ ,=\\\n\r]/)
      }),
    )
  })

  test('grow with what is put, and are used again', () => {
    const lines = new LineBuffer(8)
    const long = 'ä'.repeat(10_000)
    lines.putText('a')
    lines.putText(long)
    lines.putBoolean(true)
    assert.equal(Buffer.from(lines.written).toString(), `"a""${long}"t`)
    lines.cutTo(3)
    assert.equal(Buffer.from(lines.written).toString(), '"a"')
    lines.clear()
    lines.putLong('9223372036854775807')
    lines.endLine()
    assert.equal(Buffer.from(lines.written).toString(), '9223372036854775807i\n')
  })
})
