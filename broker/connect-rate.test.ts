import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../kernel/time.ts'
import { ConnectRate } from './connect-rate.ts'

test('a burst, then the rate; each address for itself', async () => {
  const clock = new VirtualClock()
  const rate = new ConnectRate(clock, 2, 3)
  const admitted = (address: string, times: number): number =>
    Array.from({ length: times }, () => rate.admit(address)).filter(Boolean).length
  assert.equal(admitted('10.0.0.1', 5), 3)
  assert.equal(admitted('10.0.0.2', 1), 1)
  await clock.advance(1_000)
  assert.equal(admitted('10.0.0.1', 5), 2)
  await clock.advance(3_600_000)
  assert.equal(admitted('10.0.0.1', 5), 3)
})

test('a scan from many addresses does not free one that is above its rate', async () => {
  const clock = new VirtualClock()
  const rate = new ConnectRate(clock, 0.001, 1)
  assert.equal(rate.admit('10.0.0.1'), true)
  for (let n = 0; n < 9_000; n++) rate.admit(`scan-${n}`)
  assert.equal(rate.admit('10.0.0.1'), false)
})
