import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileSchema } from '../kernel/schema.ts'
import { crossCheckMqttDoorConfig, MqttDoorConfigSchema, type MqttDoorConfig } from './mqtt-door-config.ts'
import { TopicPattern } from './topic-pattern.ts'

function patternOf(text: string): TopicPattern {
  const parsed = TopicPattern.parse(text)
  assert.equal(parsed.status, 'valid', text)
  return (parsed as { pattern: TopicPattern }).pattern
}

const MATCHES: readonly [pattern: string, filter: string, topic: string, found: string | null][] = [
  ['devices/{device}/telemetry', 'devices/+/telemetry', 'devices/pump-1/telemetry', '- pump-1 -'],
  ['devices/{device}/telemetry', 'devices/+/telemetry', 'devices/pump-1/status', null],
  ['devices/{device}/telemetry', 'devices/+/telemetry', 'devices/pump-1/telemetry/x', null],
  ['sensors/+/{device}/up', 'sensors/+/+/up', 'sensors/hall 7/pump-1/up', '- pump-1 -'],
  ['{tenant}/{type}/{device}/#', '+/+/+/#', 'acme/boiler/b-1/a/b', 'acme b-1 boiler'],
  ['{tenant}/{type}/{device}/#', '+/+/+/#', 'acme/boiler/b-1', 'acme b-1 boiler'],
  ['{tenant}/{type}/{device}/#', '+/+/+/#', 'ACME/boiler/b-1', null],
  ['{device}', '+', 'no/device', null],
  ['{device}', '+', '-x', null],
  ['{device}', '+', '', null],
]

for (const [text, filter, topic, found] of MATCHES) {
  test(`${text} and ${topic}: ${found ?? 'no match'}`, () => {
    const pattern = patternOf(text)
    assert.equal(pattern.filter, filter)
    const match = pattern.match(topic)
    const told = match.status === 'matched' ? [match.tenant ?? '-', match.device, match.type ?? '-'].join(' ') : null
    assert.equal(told, found)
    if (match.status === 'unmatched') assert.ok(match.detail.length > 10)
  })
}

test('patterns that cannot be meant are refused with the reason', () => {
  for (const text of [
    'devices/telemetry',
    '{device}/{device}',
    'a/{devise}/{device}',
    'a/#/{device}',
    'a+/{device}',
    '$SYS/{device}',
    '{device}/{type}/{type}',
  ]) {
    const parsed = TopicPattern.parse(text)
    assert.ok(parsed.status === 'invalid' && parsed.problem.length > 10, text)
  }
})

test('settings of the door that do not fit one another are all named', () => {
  const check = compileSchema(MqttDoorConfigSchema)
  const defaults = check({})
  assert.equal(defaults.status, 'valid')
  assert.deepEqual(crossCheckMqttDoorConfig((defaults as { value: MqttDoorConfig }).value, 'mqttDoor'), [])
  const wrong = {
    ...(defaults as { value: MqttDoorConfig }).value,
    topicPattern: 'x',
    certFile: 'c.pem',
    password: 'p',
    reconnectInitialMs: 60_000,
  }
  assert.deepEqual(
    crossCheckMqttDoorConfig(wrong, 'mqttDoor').map(({ key }) => key),
    ['mqttDoor.topicPattern', 'mqttDoor.keyFile', 'mqttDoor.username', 'mqttDoor.reconnectInitialMs'],
  )
  for (const url of ['http://x', 'mqtt://user:secret@host', 'mqtt://']) assert.equal(check({ url }).status, 'invalid', url)
  for (const url of ['', 'mqtt://host', 'mqtts://[::1]:8883', 'wss://host/mqtt']) assert.equal(check({ url }).status, 'valid', url)
})
