import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEPRECATIONS, deprecationOf, faultsOf, type Deprecations } from './deprecations.ts'
import { EVENT_SCHEMAS, latestVersion } from './event-schemas.ts'
import { EVENT_TYPES } from './event-types.ts'

const good = { since: '2026-01-01', until: '2026-12-31', replacedBy: 'MessageSent/2', retired: false }

test('every version that goes has its dates and a replacement, and every older version goes', () => {
  assert.deepEqual(faultsOf(DEPRECATIONS, Date.now()), [])
  for (const type of EVENT_TYPES) {
    const going = EVENT_SCHEMAS[type].map((_schema, i) => deprecationOf(type, i + 1) !== null)
    assert.deepEqual(
      going,
      EVENT_SCHEMAS[type].map((_schema, i) => i + 1 < latestVersion(type)),
      type,
    )
  }
})

test('a plan that is none is found', () => {
  const nowMs = Date.parse('2026-07-01T00:00:00Z')
  assert.deepEqual(faultsOf({ 'MessageSent/1': good }, nowMs), [])
  for (const [plan, fault] of [
    [{ 'MessageSent/9': good }, /MessageSent\/9: there is no such version/],
    [{ 'MessageLost/1': good }, /MessageLost\/1: there is no such version/],
    [{ 'MessageSent/2': good }, /MessageSent\/2: it is what is written.*does not replace it/],
    [{ 'MessageSent/1': { ...good, since: '' } }, /not read for 180 days/],
    [{ 'MessageSent/1': { ...good, until: '2026-02-30' } }, /not read for 180 days/],
    [{ 'MessageSent/1': { ...good, until: '2026-03-01' } }, /not read for 180 days, from 2026-01-01 to 2026-03-01/],
    [{ 'MessageSent/1': { ...good, replacedBy: '' } }, / does not replace it/],
    [{ 'MessageSent/1': { ...good, replacedBy: 'MessageSent/3' } }, /MessageSent\/3 does not replace it/],
    [{ 'MessageSent/1': { ...good, retired: true } }, /retired before 2026-12-31/],
  ] as [Deprecations, RegExp][])
    assert.match(faultsOf(plan, nowMs).join('; '), fault)
  assert.deepEqual(faultsOf({ 'MessageSent/1': { ...good, retired: true } }, Date.parse('2027-01-01T00:00:00Z')), [])
})
