import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvalidInputError } from '../../kernel/errors.ts'
import { decodeCursor, encodeCursor, parseInterval, parseTime } from './lists.ts'

test('times are epoch ms or RFC 3339, anything else is refused with its field', () => {
  assert.equal(parseTime('from', undefined), undefined)
  assert.equal(parseTime('from', '1763680000000'), 1_763_680_000_000)
  assert.equal(parseTime('from', '-5'), -5)
  for (const text of ['2026-01-31T12:00:00Z', '2026-01-31t12:00:00z', '2026-01-31 12:00:00Z', '2026-01-31T13:00:00+01:00', '2026-01-31T12:00:00.000Z']) {
    assert.equal(parseTime('from', text), Date.UTC(2026, 0, 31, 12), text)
  }
  for (const text of ['', 'now', '1e3', '1.5', '2026-01-31', '2026-01-31T12:00:00', '2026-13-01T00:00:00Z', '9'.repeat(16), '9'.repeat(40), 'NaN', '0x10']) {
    assert.throws(() => parseTime('from', text), (error: unknown) => error instanceof InvalidInputError && error.details.field === 'from', text)
  }
})

test('intervals have a unit and bounds', () => {
  assert.deepEqual(['10s', '1m', '1h', '1d', '250', '250ms'].map((text) => parseInterval('interval', text)), [10_000, 60_000, 3_600_000, 86_400_000, 250, 250])
  for (const text of ['', '0', '0s', '-1s', '1.5s', '1w', '9'.repeat(12), '1 s']) assert.throws(() => parseInterval('interval', text), InvalidInputError, text)
})

test('a cursor comes back as it was made; whatever else is sent is refused, never thrown as our fault', () => {
  const isNumber = (value: unknown): value is { n: number } => typeof (value as { n?: unknown } | null)?.n === 'number'
  fc.assert(fc.property(fc.integer(), (n) => assert.deepEqual(decodeCursor(encodeCursor({ n }), isNumber), { n })))
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String(), fc.json().map((text) => Buffer.from(text).toString('base64url'))), (cursor) => {
      try {
        assert.equal(typeof decodeCursor(cursor, isNumber).n, 'number')
      } catch (error) {
        assert.ok(error instanceof InvalidInputError, String(error))
      }
    }),
  )
})
