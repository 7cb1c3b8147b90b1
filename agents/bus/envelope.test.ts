import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { open, seal, signed, type BusEvent } from './envelope.ts'
import { EVENT_TYPES } from './event-types.ts'
import { GOLDEN_EVENTS } from './testing/golden-events.ts'

const key = randomBytes(32)
const of = { id: 'inc_42', tenant: 'default', correlationId: 'c-7' }
const entryOf = (type: (typeof EVENT_TYPES)[number], sequence = 3) => ({
  ...{ type, sequence, at: 1_700_000_000_000 },
  data: GOLDEN_EVENTS[type].at(-1) as Record<string, unknown>,
})

test('an event goes through the log as CloudEvents 1.0 in binary mode, and comes out as it went in', () => {
  for (const type of EVENT_TYPES) {
    const message = seal(entryOf(type), of, key)
    const { headers = {} } = message
    assert.deepEqual([headers.ce_specversion, headers.ce_source, headers.ce_correlationid], ['1.0', '/agents', 'c-7'])
    assert.match(headers.ce_type ?? '', new RegExp(`^iot\\.agents\\.${type}\\.v\\d$`))
    assert.match(headers.ce_dataschema ?? '', new RegExp(`^urn:iot:schema:${type}:\\d$`))
    assert.equal(message.key, `default/${headers.ce_subject}`)
    const opened = open({ headers, value: message.value }, key)
    assert.equal(opened.status, 'event')
    const { event } = opened as { event: BusEvent }
    assert.deepEqual([event.type, event.sequence, event.tenant, event.data], [type, 3, 'default', entryOf(type).data])
  }
})

test('unsigned, forged and altered events are refused, whatever was altered', () => {
  const { headers = {}, value } = seal(entryOf('MessageSent'), of, key)
  const { ce_signature: _, ...unsigned } = headers
  assert.equal((open({ headers: unsigned, value }, key) as { reason: string }).reason, 'unsigned')
  assert.equal((open({ headers, value }, randomBytes(32)) as { reason: string }).reason, 'forged')
  for (const name of Object.keys(headers)) {
    const reason = (open({ headers: { ...headers, [name]: `${headers[name]}x` }, value }, key) as { reason: string }).reason
    assert.equal(reason, 'forged', name)
  }
  fc.assert(
    fc.property(fc.nat(value.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const altered = Uint8Array.from(value)
      altered[at] = (altered[at] as number) ^ flip
      assert.equal((open({ headers, value: altered }, key) as { reason: string }).reason, 'forged')
    }),
    { seed: 8 },
  )
})

test('what is signed and makes no sense is refused with its cause', () => {
  const unknown = signed({ type: 'iot.agents.MessageLost.v1', specversion: '1.0' }, GOLDEN_EVENTS.MessageSent[0], key)
  const odd = seal({ ...entryOf('MessageSent'), data: { eventType: 'MessageSent' } }, of, key)
  assert.match(JSON.stringify(open(unknown, key)), /unknown/)
  assert.match(JSON.stringify(open({ headers: odd.headers ?? {}, value: odd.value }, key)), /malformed.*is missing/)
})
