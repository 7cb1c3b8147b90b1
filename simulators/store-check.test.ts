import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../kernel/time.ts'
import { measureStored, type CheckedDevice, type StoredItem, type StoreView } from './store-check.ts'

interface Device extends CheckedDevice {
  /** In the order in which they are stored. */
  stored: { boot: string; seq: number | null }[]
}

function device(id: string, stored: number[], unacked: number[] = [], sent = 10): Device {
  return { id, boot: 'now', sent, isUnacked: (seq) => unacked.includes(seq), stored: stored.map((seq) => ({ boot: 'now', seq })) }
}

/** Answers what is stored newest first, a few at a time, as the API does. */
function storeOf(devices: readonly Device[]): StoreView {
  return {
    readings: async (query) => {
      const parameters = new URLSearchParams(query)
      const found = devices.find(({ id }) => id === parameters.get('device'))
      const items: StoredItem[] = (found?.stored ?? []).map((item, at) => ({ ...item, ts: at })).reverse()
      const from = Number(parameters.get('cursor') ?? 0)
      return { items: items.slice(from, from + 3), next: from + 3 < items.length ? String(from + 3) : null }
    },
  }
}

async function measure(devices: Device[], clock = new VirtualClock()) {
  const measured = measureStored({ fleet: { devices }, store: storeOf(devices), clock, timeoutMs: 1_000, onProgress: () => undefined })
  let done = false
  void measured.finally(() => (done = true))
  while (!done) await clock.advance(100)
  return measured
}

const ALL = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

test('all there once and in order is no fault, whatever lies around it', async () => {
  const whole = device('a', ALL)
  whole.stored.unshift({ boot: 'before', seq: 3 }, { boot: 'now', seq: null })
  assert.deepEqual(await measure([whole, device('b', ALL)]), { lost: 0, duplicated: 0, outOfOrder: 0 })
})

test('a lost reading is found, also when another one is unacknowledged and stored', async () => {
  assert.equal((await measure([device('a', ALL.filter((seq) => seq !== 4))])).lost, 1)
  assert.equal((await measure([device('a', ALL.filter((seq) => seq !== 4), [9])])).lost, 1)
  assert.equal((await measure([device('a', ALL.filter((seq) => seq !== 9), [9])])).lost, 0, 'nobody said that this one was kept')
})

test('a reading stored twice is found, and one out of order', async () => {
  assert.deepEqual(await measure([device('a', [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9])]), { lost: 0, duplicated: 1, outOfOrder: 0 })
  assert.deepEqual(await measure([device('a', [0, 1, 3, 2, 4, 5, 6, 7, 8, 9])]), { lost: 0, duplicated: 0, outOfOrder: 1 })
})

test('what is still on its way is waited for', async () => {
  const clock = new VirtualClock()
  const late = device('a', ALL.slice(0, 5))
  clock.after(700, () => late.stored.push(...ALL.slice(5).map((seq) => ({ boot: 'now', seq }))))
  assert.equal((await measure([late], clock)).lost, 0)
})

test('any loss and repetition is counted exactly', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 12 }), async (times) => {
      const stored = times.flatMap((count, seq) => Array<number>(count).fill(seq))
      const { lost, duplicated, outOfOrder } = await measure([device('a', stored, [], times.length)])
      assert.deepEqual([lost, duplicated, outOfOrder], [times.filter((count) => count === 0).length, times.reduce((sum, count) => sum + Math.max(0, count - 1), 0), 0])
    }),
    { numRuns: 50 },
  )
})
