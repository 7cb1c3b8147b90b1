import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EntryBuffers } from './append-turn.ts'

const ENTRY_BYTES = 3_968
/** Entries of a large fleet's windows in one commit. */
const BUSY_ENTRIES = 1_600

test('a busy log uses the memory of its entries again: asked for anew, it would have the collector go through the whole heap', () => {
  const buffers = new EntryBuffers(ENTRY_BYTES)
  const first = Array.from({ length: BUSY_ENTRIES }, () => buffers.take(100))
  for (const buffer of first) buffers.giveBack(buffer)
  const second = new Set(Array.from({ length: BUSY_ENTRIES }, () => buffers.take(100)))
  assert.equal(second.size, BUSY_ENTRIES)
  assert.equal(first.filter((buffer) => second.has(buffer)).length, BUSY_ENTRIES)
})

test('what is kept is bounded, and an entry larger than usual is not kept', () => {
  const buffers = new EntryBuffers(ENTRY_BYTES)
  const taken = Array.from({ length: 10_000 }, () => buffers.take(100))
  for (const buffer of taken) buffers.giveBack(buffer)
  const again = new Set(Array.from({ length: 10_000 }, () => buffers.take(100)))
  const keptBytes = taken.filter((buffer) => again.has(buffer)).length * ENTRY_BYTES
  assert.ok(keptBytes <= 8 * 1_048_576 + ENTRY_BYTES, String(keptBytes))
  const large = buffers.take(100_000)
  assert.equal(large.length, 100_000)
  buffers.giveBack(large)
  assert.equal(buffers.take(100).length, ENTRY_BYTES)
})
