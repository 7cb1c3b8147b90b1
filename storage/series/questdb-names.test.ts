import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../kernel/testing/any-text.ts'
import { columnName, rollupName, tableName } from './questdb-names.ts'

const NAME = /^[a-z0-9_]{1,127}$/
const texts = anyText({ maxLength: 200 })

test('names of tables and columns are safe whatever they stand for, and differ where that does', () => {
  const hostile = [
    '',
    '"',
    "'; DROP TABLE x; --",
    'ts',
    'Temp',
    'temp',
    'TEMP',
    'x_temp_0123456789ab',
    'm_temp',
    '\ud800',
    '\udfff',
    '\u0000',
  ]
  const columns = new Set(hostile.map((metric) => columnName(metric)))
  assert.equal(columns.size, hostile.length)
  fc.assert(
    fc.property(texts, texts, (a, b) => {
      for (const name of [columnName(a), tableName('p_', a, b), rollupName(tableName('p_', a, b), columnName(a))]) assert.match(name, NAME)
      assert.equal(columnName(a) === columnName(b), a === b)
      assert.equal(tableName('p_', a, b) === tableName('p_', b, a), a === b)
    }),
  )
})

test('a plain metric name is its own column', () => {
  assert.equal(columnName('temperature_2'), 'm_temperature_2')
})
