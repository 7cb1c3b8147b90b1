import { first, sent, type GoldenCase, type Step, type ViolationName } from './golden-case.ts'
import {
  acknowledge,
  bytes,
  DISCONNECT_BYTES,
  field,
  packet,
  PINGREQ_BYTES,
  PINGRESP_BYTES,
  publish,
  suback,
  subscribe,
  uint16,
  unsubscribe,
} from './wire.ts'

const FIVE_BYTE_LENGTH = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x01])
const NAMES = [
  'type 0',
  'CONNECT',
  'CONNACK',
  'PUBLISH',
  'PUBACK',
  'PUBREC',
  'PUBREL',
  'PUBCOMP',
  'SUBSCRIBE',
  'SUBACK',
  'UNSUBSCRIBE',
  'UNSUBACK',
  'PINGREQ',
  'PINGRESP',
  'DISCONNECT',
  'type 15',
]
const REQUIRED_FLAGS: Readonly<Record<number, number>> = { 6: 2, 8: 2, 10: 2 }
const GOOD_BODIES: Readonly<Record<number, Buffer>> = {
  3: bytes(field('topic'), Buffer.from('x')),
  8: bytes(uint16(4), field('p'), 0),
  9: bytes(uint16(4), 0),
  10: bytes(uint16(4), field('p')),
}

function bodyOf(type: number): Buffer {
  if (type === 12 || type === 13 || type === 14 || type === 0 || type === 15) return Buffer.alloc(0)
  return GOOD_BODIES[type] ?? uint16(1)
}

function headerFault(type: number): ViolationName {
  if (type === 0 || type === 15) return 'reservedType'
  return [2, 9, 11, 13].includes(type) ? 'serverOnlyType' : 'headerFlags'
}

/** §2: fixed header, whatever the type. */
export const HEADER_CASES: readonly GoldenCase[] = NAMES.flatMap((name, type) => {
  const flags = REQUIRED_FLAGS[type] ?? 0
  const bad = headerFault(type)
  const cases: GoldenCase[] = []
  if (type !== 1) {
    const then = bad === 'reservedType' ? bad : 'firstNotConnect'
    cases.push(first(`${name} as the first packet [MQTT-3.1.0-1]`, packet((type << 4) | flags, bodyOf(type)), then))
  }
  const tooLong = bad === 'headerFlags' ? (type === 1 ? 'secondConnect' : 'lengthBytes') : bad
  cases.push(sent(`${name} with a length of five bytes`, bytes((type << 4) | flags, FIVE_BYTE_LENGTH), tooLong))
  if (type === 1 || type === 3) return cases
  for (const flag of [1, 2, 4, 8]) {
    if ((flags ^ flag) === flags) continue
    cases.push(sent(`${name} with header flags ${flags ^ flag}`, packet((type << 4) | (flags ^ flag), bodyOf(type)), bad))
  }
  if (bad !== 'headerFlags') {
    cases.push(
      sent(`${name} from a device`, packet(type << 4, bodyOf(type)), bad),
      sent(`${name} with bytes too many`, packet(type << 4, 0, 0, 0, 0), bad),
    )
  }
  return cases
})

/** §3.4 to §3.7, §3.12, §3.14: packets of one field or none. */
export const SMALL_PACKET_CASES: readonly GoldenCase[] = [
  ...[0x40, 0x50, 0x62, 0x70].flatMap((head) => {
    const name = NAMES[head >>> 4]!
    return [
      sent(`${name} too long`, packet(head, uint16(1), 0), 'packetTooLong'),
      sent(`${name} with id 0 [MQTT-2.3.1-1]`, packet(head, uint16(0)), 'packetIdZero'),
      sent(`${name} empty`, packet(head), 'packetTooShort'),
      sent(`${name} of one byte`, packet(head, 1), 'packetTooShort'),
    ]
  }),
  sent('PUBACK that nothing waits for', acknowledge(0x40, 1), 'open'),
  sent('PUBREC that nothing waits for', acknowledge(0x50, 1), 'open', acknowledge(0x62, 1)),
  sent('PUBREL that nothing waits for', acknowledge(0x62, 1), 'open', acknowledge(0x70, 1)),
  sent('PUBCOMP that nothing waits for', acknowledge(0x70, 1), 'open'),
  sent('PINGREQ [MQTT-3.12.4-1]', PINGREQ_BYTES, 'open', PINGRESP_BYTES),
  sent('PINGREQ with a body', packet(0xc0, 0), 'packetTooLong'),
  sent('DISCONNECT', DISCONNECT_BYTES, 'gone'),
  sent('DISCONNECT with a body', packet(0xe0, 0), 'packetTooLong'),
  sent('anything after DISCONNECT is not looked at [MQTT-3.14.4-2]', bytes(DISCONNECT_BYTES, 0xff, 0xff), 'gone'),
]

/** §3.3: PUBLISH. */
export const PUBLISH_CASES: readonly GoldenCase[] = [
  sent('QoS 0', publish('topic', 'payload'), 'open'),
  sent('retained', publish('topic/r', 'payload', { retain: true }), 'open'),
  sent('retained and empty [MQTT-3.3.1-10]', publish('topic/r', '', { retain: true }), 'open'),
  sent('empty topic [MQTT-4.7.3-1]', publish('', 'payload'), 'topicEmpty'),
  sent('empty topic before a payload that is the last topic', bytes(publish('ab', 'x'), publish('', 'ab')), 'topicEmpty'),
  sent('DUP with QoS 0 [MQTT-3.3.1-2]', publish('topic', 'payload', { dup: true }), 'publishDup'),
  sent('QoS 3 [MQTT-3.3.1-4]', publish('topic', 'payload', { qos: 3 }), 'publishQos'),
  sent('QoS 3 without an id', packet(0x36, field('topic'), Buffer.from('payload')), 'publishQos'),
  sent('QoS 1 with id 0 [MQTT-2.3.1-1]', publish('topic', 'x', { qos: 1, id: 0 }), 'packetIdZero'),
  sent('QoS 2 with id 0 [MQTT-2.3.1-1]', publish('topic', 'x', { qos: 2, id: 0 }), 'packetIdZero'),
  sent('QoS 1 without an id', packet(0x32, field('topic')), 'packetTooShort'),
  sent('QoS 1 with half an id', packet(0x32, field('topic'), 1), 'packetTooShort'),
  sent('no topic', packet(0x30), 'packetTooShort'),
  sent('half a topic length', packet(0x30, 0), 'packetTooShort'),
  sent('topic longer than the packet', packet(0x30, uint16(9), Buffer.from('topic')), 'packetTooShort'),
  ...['+opic', '#opic', 'a/+/b', 'a/#', '+', '#', 'a+', 'a#'].map((topic) =>
    sent(`topic ${topic} [MQTT-3.3.2-2]`, publish(topic, 'x'), 'topicWildcard'),
  ),
  ...['/', '//', '/a', 'a/', '$test/a', 'a b', 'A/a'].map((topic) =>
    sent(`topic "${topic}" is a good one`, publish(topic, 'x', { qos: 1 }), 'open', acknowledge(0x40, 7)),
  ),
  sent('length field longer than needed', bytes(0x32, 0x89, 0x00, field('topic'), uint16(7)), 'open', acknowledge(0x40, 7)),
  sent('larger than this broker accepts', bytes(0x30, 0x81, 0x80, 0x10), 'packetTooLarge'),
  sent('topic longer than this broker accepts', publish('t'.repeat(2_049), 'x'), 'topicTooLong'),
  sent('topic deeper than this broker accepts', publish('a/'.repeat(64), 'x'), 'topicTooDeep'),
  ...[false, true].flatMap((dup) => [
    sent(`QoS 1, DUP ${dup} [MQTT-4.3.2-2]`, publish('topic', 'x', { qos: 1, id: 1234, dup }), 'open', acknowledge(0x40, 1234)),
    {
      ...sent(`QoS 2, DUP ${dup} [MQTT-4.3.3-2]`, publish('topic', 'x', { qos: 2, id: 1234, dup }), 'open', acknowledge(0x50, 1234)),
      steps: [
        { send: publish('topic', 'x', { qos: 2, id: 1234, dup }) },
        { receive: acknowledge(0x50, 1234) },
        { send: acknowledge(0x62, 1234) },
        { receive: acknowledge(0x70, 1234) },
      ],
    },
  ]),
  {
    ...sent('QoS 2 repeated before PUBREL [MQTT-4.3.3-2]', Buffer.alloc(0), 'open'),
    steps: ['', 'p', ''].flatMap((payload): Step[] => [
      { send: publish('topic', payload, { qos: 2, id: 1234 }) },
      { receive: acknowledge(0x50, 1234) },
    ]),
  },
]

/** §3.8 and §3.10: SUBSCRIBE and UNSUBSCRIBE. */
export const FILTER_CASES: readonly GoldenCase[] = [
  ...[0, 1, 2].map((qos) => sent(`SUBSCRIBE with QoS ${qos} [MQTT-3.8.4-1]`, subscribe(1234, ['p', qos]), 'open', suback(1234, qos))),
  sent('SUBSCRIBE with two filters [MQTT-3.8.4-4]', subscribe(1234, ['p', 0], ['q', 2]), 'open', suback(1234, 0, 2)),
  sent('SUBSCRIBE naming a filter twice [MQTT-3.8.4-5]', subscribe(9, ['p', 0], ['q', 1], ['p', 2]), 'open', suback(9, 0, 1, 2)),
  ...[3, 4, 8, 0x10, 0x20, 0x40, 0x80].map((qos) =>
    sent(`SUBSCRIBE with QoS byte ${qos} [MQTT-3-8.3-4]`, subscribe(1234, ['p', qos]), 'requestedQos'),
  ),
  sent('SUBSCRIBE with one byte too many', packet(0x82, uint16(1234), field('p'), 0, 0), 'packetTooShort'),
  sent('SUBSCRIBE without a QoS', packet(0x82, uint16(1234), field('p')), 'packetTooShort'),
  sent('SUBSCRIBE with an empty filter and no QoS', packet(0x82, uint16(1234), uint16(0)), 'packetTooShort'),
  sent('SUBSCRIBE with half a filter length', packet(0x82, uint16(1234), 0), 'packetTooShort'),
  sent('SUBSCRIBE without a filter [MQTT-3.8.3-3]', packet(0x82, uint16(1234)), 'noFilters'),
  sent('SUBSCRIBE of one byte', packet(0x82, 12), 'packetTooShort'),
  sent('SUBSCRIBE of none', packet(0x82), 'packetTooShort'),
  sent('SUBSCRIBE with id 0 [MQTT-2.3.1-1]', subscribe(0, ['p', 0]), 'packetIdZero'),
  sent('SUBSCRIBE with an empty filter', subscribe(4, ['', 0]), 'topicEmpty'),
  sent('SUBSCRIBE with an empty first filter', subscribe(4, ['', 0], ['q', 0]), 'topicEmpty'),
  sent('SUBSCRIBE with an empty last filter', subscribe(4, ['q', 0], ['', 0]), 'topicEmpty'),
  sent(
    'SUBSCRIBE with more filters than accepted',
    subscribe(4, ...Array.from({ length: 257 }, (_, i): [string, number] => [`f${i}`, 0])),
    'tooManyFilters',
  ),
  sent('UNSUBSCRIBE of what was never subscribed [MQTT-3.10.4-5]', unsubscribe(1234, 'p'), 'open', acknowledge(0xb0, 1234)),
  sent('UNSUBSCRIBE of two filters [MQTT-3.10.4-6]', unsubscribe(1234, 'p', 'q'), 'open', acknowledge(0xb0, 1234)),
  {
    ...sent('SUBSCRIBE and UNSUBSCRIBE', Buffer.alloc(0), 'open'),
    steps: [{ send: subscribe(5, ['p', 0]) }, { receive: suback(5, 0) }, { send: unsubscribe(5, 'p') }, { receive: acknowledge(0xb0, 5) }],
  },
  {
    ...sent('SUBSCRIBE to three, UNSUBSCRIBE from one, SUBSCRIBE again', Buffer.alloc(0), 'open'),
    steps: [
      { send: subscribe(6, ['x/1/#', 0], ['y/2/#', 0], ['z/3/#', 0]) },
      { receive: suback(6, 0, 0, 0) },
      { send: unsubscribe(6, 'x/1/#') },
      { receive: acknowledge(0xb0, 6) },
      { send: subscribe(6, ['z/3/#', 0]) },
      { receive: suback(6, 0) },
    ],
  },
  sent('UNSUBSCRIBE with an empty first filter', unsubscribe(4, '', 'q'), 'topicEmpty'),
  sent('UNSUBSCRIBE with an empty last filter', unsubscribe(4, 'q', ''), 'topicEmpty'),
  sent('UNSUBSCRIBE with a filter longer than the packet', packet(0xa2, uint16(4), uint16(1)), 'packetTooShort'),
  sent('UNSUBSCRIBE with half a filter length', packet(0xa2, uint16(4), 1), 'packetTooShort'),
  sent('UNSUBSCRIBE without a filter [MQTT-3.10.3-2]', packet(0xa2, uint16(4)), 'noFilters'),
  sent('UNSUBSCRIBE of one byte', packet(0xa2, 4), 'packetTooShort'),
  sent('UNSUBSCRIBE of none', packet(0xa2), 'packetTooShort'),
  sent('UNSUBSCRIBE with id 0', unsubscribe(0, 'p', 'q'), 'packetIdZero'),
  ...['a+', '+a', 'a/b+', 'a/+b/c', 'a#', 'a/b#', '#/a', 'a/#/b', '##', '++', '+#'].flatMap((filter) => [
    sent(`SUBSCRIBE to ${filter} [MQTT-4.7.1-3]`, subscribe(4, [filter, 0]), 'filterWildcard'),
    sent(`UNSUBSCRIBE from ${filter} [MQTT-4.7.1-3]`, unsubscribe(4, filter), 'filterWildcard'),
  ]),
  ...['#', '+', '/+', '+/', '+/+/#', '/#', 'a/#', 'a/+/b', '/', '$SYS/golden/#', '$share/group/t', '$share/group/+/t'].map((filter) =>
    sent(`SUBSCRIBE to ${filter}`, subscribe(4, [filter, 1]), 'open', suback(4, 1)),
  ),
]
