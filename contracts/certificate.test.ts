import assert from 'node:assert/strict'
import { test } from 'node:test'
import { normaliseSerial } from './certificate.ts'

test('a serial has one written form, however it was typed', () => {
  assert.equal(normaliseSerial('01ab'), '01AB')
  assert.equal(normaliseSerial('01:AB:cd'), '01ABCD')
  assert.equal(normaliseSerial('1ab'), '01AB')
  assert.equal(normaliseSerial('000001AB'), '01AB')
  assert.equal(normaliseSerial('00'), '00')
})

test('what is no serial is none', () => {
  for (const text of ['', 'xyz', '01 AB', '-1', 'A'.repeat(41), '../01']) assert.equal(normaliseSerial(text), undefined, text)
})
