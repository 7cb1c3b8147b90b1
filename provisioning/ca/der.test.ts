import assert from 'node:assert/strict'
import { test } from 'node:test'
import { integerFromHex, objectIdentifier, octetString, time } from './der.ts'

test('integers are minimal and never negative', () => {
  assert.equal(integerFromHex('00').toString('hex'), '020100')
  assert.equal(integerFromHex('7f').toString('hex'), '02017f')
  assert.equal(integerFromHex('80').toString('hex'), '02020080')
  assert.equal(integerFromHex('0001').toString('hex'), '020101')
  assert.equal(integerFromHex('abc').toString('hex'), '02020abc')
})

test('object identifiers', () => {
  assert.equal(objectIdentifier('1.2.840.10045.4.3.2').toString('hex'), '06082a8648ce3d040302')
  assert.equal(objectIdentifier('2.5.29.20').toString('hex'), '0603551d14')
})

test('lengths grow from one octet to several', () => {
  assert.equal(octetString(Buffer.alloc(127)).subarray(0, 2).toString('hex'), '047f')
  assert.equal(octetString(Buffer.alloc(128)).subarray(0, 3).toString('hex'), '048180')
  assert.equal(octetString(Buffer.alloc(70_000)).subarray(0, 5).toString('hex'), '0483011170')
})

test('UTCTime up to 2049, GeneralizedTime from 2050', () => {
  assert.equal(time(Date.UTC(2049, 11, 31, 23, 59, 59, 999)).toString('latin1'), '\x17\r491231235959Z')
  assert.equal(time(Date.UTC(2050, 0, 1)).toString('latin1'), '\x18\x0f20500101000000Z')
})
