import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Type } from 'typebox'
import { checkEvent, EVENT_SCHEMAS, incompatibilities, latestVersion } from './event-schemas.ts'
import { EVENT_TYPES } from './event-types.ts'
import { GOLDEN_EVENTS } from './testing/golden-events.ts'

test('every version of every event reads its golden event, and neighbours read each other', () => {
  for (const type of EVENT_TYPES) {
    assert.equal(GOLDEN_EVENTS[type].length, EVENT_SCHEMAS[type].length, `${type} has a golden event for each version`)
    for (const [i, schema] of EVENT_SCHEMAS[type].entries()) {
      const golden = GOLDEN_EVENTS[type][i]
      assert.deepEqual(checkEvent(type, i + 1, golden), { status: 'valid' })
      const older = EVENT_SCHEMAS[type][i - 1]
      if (older === undefined) continue
      const samples = { older: GOLDEN_EVENTS[type].slice(0, i), newer: [golden] }
      assert.deepEqual(incompatibilities(older, schema, samples), [], `${type}/${i + 1}`)
    }
  }
})

test('a schema that could not follow the old one is found', () => {
  const [first] = EVENT_SCHEMAS.FloorGranted as [(typeof EVENT_SCHEMAS.FloorGranted)[number]]
  const samples = { older: GOLDEN_EVENTS.FloorGranted, newer: [] }
  const common = { eventType: Type.Literal('FloorGranted'), timestamp: Type.String() }
  const needsMore = Type.Object({ ...common, chatId: Type.String(), agentId: Type.String(), reason: Type.String() })
  assert.match(incompatibilities(first, needsMore, samples)[0] ?? '', /does not read an event of the old one: reason is missing/)
  const otherType = Type.Object({ ...common, chatId: Type.Integer() })
  assert.notDeepEqual(incompatibilities(first, otherType, samples), [])
  const renamed = { eventType: 'FloorGranted', timestamp: '2026-11-21T20:00:00.000Z', chatId: 'c', speaker: 'agent:a', floorEpoch: 1 }
  assert.match(
    incompatibilities(first, Type.Object(common), { older: [], newer: [renamed] })[0] ?? '',
    /a consumer of the old version does not read an event of the new one: agentId is missing/,
  )
})

test('who knows version 1 reads version 2 and versions that say so; what is unknown is nobody’s', () => {
  const newer = { ...GOLDEN_EVENTS.MessageSent[1], mood: 'fine' }
  assert.deepEqual(checkEvent('MessageSent', 1, newer), { status: 'valid' })
  const later = latestVersion('MessageSent') + 5
  assert.deepEqual(checkEvent('MessageSent', later, newer, 1), { status: 'valid' })
  assert.match(JSON.stringify(checkEvent('MessageSent', later, newer)), /MessageSent\/7 is unknown here: the newest version .* is 2/)
  for (const readableFrom of [0, 3, later, Number.NaN]) {
    assert.equal(checkEvent('MessageSent', later, newer, readableFrom).status, 'unknown-type')
  }
  for (const [type, version] of [
    ['MessageLost', 1],
    ['MessageSent', 0],
    ['__proto__', 1],
    ['MessageSent', Number.NaN],
  ] as const)
    assert.equal(checkEvent(type, version, newer).status, 'unknown-type', `${type}/${version}`)
  assert.equal(checkEvent('MessageSent', 1, { ...newer, from: 7 }).status, 'invalid')
})
