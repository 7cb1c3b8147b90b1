import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OutputBytes } from './output-bytes.ts'

test('texts hold until their pieces are given back, whatever is written, taken and given back meanwhile', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 200 }),
    fc.nat(70_000).map((length) => 'ß'.repeat(length)),
  )
  const step = fc.oneof(
    { weight: 8, arbitrary: text },
    { weight: 2, arbitrary: fc.constant('take' as const) },
    fc.constant('give back' as const),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const bytes = new OutputBytes()
      let open: [Buffer, string][] = []
      const committing: { slabs: Buffer[]; written: [Buffer, string][] }[] = []
      for (const what of steps) {
        if (what === 'take') {
          committing.push({ slabs: bytes.take(), written: open })
          open = []
        } else if (what === 'give back') {
          const done = committing.shift()
          if (done !== undefined) bytes.giveBack(done.slabs)
        } else open.push([bytes.write(what), what])
        for (const [buffer, written] of [...open, ...committing.flatMap((each) => each.written)]) assert.equal(buffer.toString(), written)
      }
    }),
    { numRuns: 60 },
  )
})

test('memory that is given back is used again', () => {
  const bytes = new OutputBytes()
  const before = bytes.write('{"a":1}')
  bytes.giveBack(bytes.take())
  const after = bytes.write('{"b":2}')
  assert.equal(after.buffer, before.buffer)
  assert.equal(before.toString(), '{"b":2}', 'the first text is gone, as its pieces were given back')
  bytes.take()
  assert.notEqual(bytes.write('{"c":3}').buffer, after.buffer, 'pieces that are out are not written to')
})
