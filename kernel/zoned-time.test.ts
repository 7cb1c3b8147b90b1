import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { dateOf, dayNumber, epochOf, isTimeZone, localTimeOf, weekdayOf } from './zoned-time.ts'

const at = (text: string): number => Date.parse(text)
const local = (year: number, month: number, day: number, hour: number, minute = 0) => ({ year, month, day, hour, minute, second: 0 })
const BERLIN = 'Europe/Berlin'

test('a time of day is the same on the wall before and after daylight saving', () => {
  assert.equal(epochOf(BERLIN, local(2025, 3, 29, 9)), at('2025-03-29T08:00:00Z'))
  assert.equal(epochOf(BERLIN, local(2025, 3, 30, 9)), at('2025-03-30T07:00:00Z'))
  assert.equal(epochOf('America/New_York', local(2025, 11, 2, 9)), at('2025-11-02T14:00:00Z'))
  assert.equal(epochOf('Australia/Lord_Howe', local(2025, 10, 6, 12)), at('2025-10-06T01:00:00Z'))
})

test('a time that is skipped is moved on; of one that comes twice the first is meant', () => {
  assert.equal(epochOf(BERLIN, local(2025, 3, 30, 2, 30)), at('2025-03-30T01:30:00Z'))
  assert.equal(epochOf(BERLIN, local(2025, 10, 26, 2, 30)), at('2025-10-26T00:30:00Z'))
})

test('local times and instants agree, in any zone at any time', () => {
  const zones = ['UTC', BERLIN, 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Pacific/Apia', 'Africa/Casablanca']
  fc.assert(
    fc.property(fc.constantFrom(...zones), fc.integer({ min: at('2000-01-01'), max: at('2037-12-31') }), (zone, ms) => {
      const there = localTimeOf(zone, ms)
      const back = epochOf(zone, there)
      // An hour that comes twice has two instants; the first is answered.
      assert.ok(back <= ms)
      assert.deepEqual(localTimeOf(zone, back), there)
      assert.deepEqual(dateOf(dayNumber(there)), { ...there, hour: 0, minute: 0, second: 0 })
    }),
  )
})

test('zones have names, weekdays are numbered from Sunday', () => {
  assert.deepEqual([BERLIN, 'UTC', 'Mars/Olympus', '+02:00', '', 'Europe/../etc'].map(isTimeZone), [true, true, false, false, false, false])
  assert.equal(weekdayOf(dayNumber(local(2025, 11, 23, 0))), 0)
  assert.equal(weekdayOf(dayNumber(local(1969, 12, 31, 0))), 3)
})
