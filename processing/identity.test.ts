import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Reading } from '../contracts/reading.ts'
import { DeviceIdentity } from './identity.ts'

const BOUNDS = { bootsPerDeviceMax: 2, sequenceRangesMax: 64 }

function reading(fields: Partial<Reading>): Reading {
  return { tenant: 'default', device: 'd', type: 'generic', receivedAt: 0, correlationId: '', ts: 0, values: {}, ...fields }
}

test('what it calls new was never seen, what it calls duplicate was: for any mix of boots, sequences and times', () => {
  const arbitrary = fc.record({
    boot: fc.constantFrom('a', 'b', 'c', 'd'),
    seq: fc.option(fc.integer({ min: 0, max: 20 })),
    ts: fc.option(fc.integer({ min: 1, max: 150 })),
  })
  fc.assert(
    fc.property(fc.array(arbitrary, { maxLength: 300 }), (inputs) => {
      let identity = new DeviceIdentity(BOUNDS)
      const seen = new Set<string>()
      for (const [at, { boot, seq, ts }] of inputs.entries()) {
        const input = reading({ ts: ts ?? 0, ...(ts === null ? { tsAbsent: true as const } : {}), ...(seq === null ? {} : { boot, seq }) })
        // a device that sends a seq and no ts is known by its seq alone
        const key = seq === null ? `ts ${ts}` : `${boot} ${seq} ${ts}`
        const novelty = identity.observe(input)
        const anonymous = seq === null && ts === null
        if (!anonymous && ts !== null && novelty === 'new') assert.ok(!seen.has(key), `${key} was seen`)
        if (novelty === 'duplicate' && ts !== null) assert.ok(seen.has(key), `${key} was never seen`)
        if (anonymous) assert.equal(novelty, 'new')
        seen.add(key)
        if (at % 7 === 0) identity = new DeviceIdentity(BOUNDS, identity.toData())
      }
    }),
  )
})

test('the same sequence number with another event time is another reading: the store decides', () => {
  const identity = new DeviceIdentity(BOUNDS)
  assert.equal(identity.observe(reading({ boot: 'a', seq: 1, ts: 1_000 })), 'new')
  assert.equal(identity.observe(reading({ boot: 'a', seq: 1, ts: 2_000 })), 'suspect')
})

test('rejected numbers are not missing', () => {
  const identity = new DeviceIdentity(BOUNDS)
  identity.observe(reading({ boot: 'a', seq: 0, ts: 1 }))
  identity.observe(reading({ boot: 'a', seq: 2, ts: 3 }))
  assert.equal(identity.missing(), 1)
  identity.noteRejected('a', 1)
  assert.equal(identity.missing(), 0)
})
