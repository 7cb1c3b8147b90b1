import { first, sent, type GoldenCase } from './golden-case.ts'
import { bytes, connack, connect, DISCONNECT_BYTES, field, packet, PINGREQ_BYTES, PINGRESP_BYTES, publish, uint16 } from './wire.ts'

const will = (topic: string, message: string): Buffer => bytes(field(topic), field(message))

/** §3.1: CONNECT. */
export const CONNECT_CASES: readonly GoldenCase[] = [
  first('smallest good CONNECT', connect({ clientId: 'p' }), 'open', connack()),
  first('persistent session', connect({ flags: 0, clientId: 'persistent' }), 'open', connack()),
  first('keep alive 0', connect({ keepAliveS: 0 }), 'open', connack()),
  first('empty client id with clean session [MQTT-3.1.3-6]', connect({ clientId: '' }), 'open', connack()),
  first('empty client id without clean session [MQTT-3.1.3-8]', connect({ clientId: '', flags: 0 }), 'emptyClientId', connack(2)),
  first('client id of 24 characters', connect({ clientId: 'abcdefghijklmnopqrstuvwx' }), 'open', connack()),
  first('client id longer than allowed', connect({ clientId: 'c'.repeat(257) }), 'clientIdTooLong', connack(2)),
  first('client id missing', packet(0x10, field('MQTT'), 4, 2, uint16(30)), 'packetTooShort'),
  first('client id cut short', packet(0x10, field('MQTT'), 4, 2, uint16(30), uint16(5), Buffer.from('abc')), 'packetTooShort'),
  first('nothing at all', packet(0x10), 'packetTooShort'),
  first('half a name length', packet(0x10, 0), 'packetTooShort'),
  first('name longer than the packet', packet(0x10, uint16(9), Buffer.from('MQTT')), 'packetTooShort'),
  first('name alone', packet(0x10, field('MQTT')), 'packetTooShort'),
  first('no flags', packet(0x10, field('MQTT'), 4), 'packetTooShort'),
  first('half a keep alive', packet(0x10, field('MQTT'), 4, 2, 0), 'packetTooShort'),
  first('length field too small for its CONNECT', bytes(0x10, 7, connect({ flags: 0xc2 }).subarray(2)), 'packetTooShort'),
  ...['MQT', '', 'MQTTT', 'MQTU', 'mqtt', 'MQisdp', 'hj'].map((name) =>
    first(`protocol name "${name}" [MQTT-3.1.2-1]`, connect({ name }), 'protocolName'),
  ),
  ...[0, 2, 3, 5, 6, 0x84, 255].map((level) => first(`level ${level} [MQTT-3.1.2-2]`, connect({ level }), 'protocolLevel', connack(1))),
  ...[2, 4, 6].map((level) => first(`level ${level} of MQIsdp`, connect({ name: 'MQIsdp', level }), 'protocolLevel', connack(1))),
  ...[1, 2, 4, 8].map((flag) => first(`header flag ${flag} [MQTT-2.2.2-2]`, connect({ first: 0x10 | flag }), 'headerFlags')),
  first('reserved flag [MQTT-3.1.2-3]', connect({ flags: 0x03 }), 'connectReserved'),
  first('will QoS without will [MQTT-3.1.2-13]', connect({ flags: 0x0a }), 'willFlags'),
  first('will retain without will [MQTT-3.1.2-15]', connect({ flags: 0x22 }), 'willFlags'),
  first('will [MQTT-3.1.2-9]', connect({ flags: 0x06, rest: will('t', 'm') }), 'open', connack()),
  first('will with QoS 2, retained', connect({ flags: 0x36, rest: will('golden/will', '') }), 'open', connack()),
  first('will QoS 3 [MQTT-3.1.2-14]', connect({ flags: 0x1e, rest: will('t', 'm') }), 'willQos'),
  first('will without topic and message', connect({ flags: 0x06 }), 'packetTooShort'),
  first('will without message', connect({ flags: 0x06, rest: field('t') }), 'packetTooShort'),
  first('will with an empty topic [MQTT-4.7.3-1]', connect({ flags: 0x06, rest: will('', 'm') }), 'topicEmpty'),
  first('will topic with a wildcard', connect({ flags: 0x06, rest: will('a/#', 'm') }), 'topicWildcard'),
  first('will topic and message without a will', connect({ rest: will('t', 'm') }), 'packetTooLong'),
  first('user name without its flag [MQTT-3.1.2-18]', connect({ rest: field('u') }), 'packetTooLong'),
  first('user name missing [MQTT-3.1.2-19]', connect({ flags: 0x82 }), 'packetTooShort'),
  first('user name', connect({ flags: 0x82, rest: field('u') }), 'open', connack()),
  first('empty user name', connect({ flags: 0x82, rest: field('') }), 'open', connack()),
  first('user name and password', connect({ flags: 0xc2, rest: will('u', 'p') }), 'open', connack()),
  first(
    'password of any bytes',
    connect({ flags: 0xc2, rest: bytes(field('u'), field(Buffer.from('746f70000080ff', 'hex'))) }),
    'open',
    connack(),
  ),
  first('password without its flag [MQTT-3.1.2-20]', connect({ flags: 0x82, rest: will('u', 'p') }), 'packetTooLong'),
  first('password missing [MQTT-3.1.2-21]', connect({ flags: 0xc2, rest: field('u') }), 'packetTooShort'),
  first('password without a user name [MQTT-3.1.2-22]', connect({ flags: 0x42, rest: field('p') }), 'passwordAlone'),
  first('one byte too many', connect({ rest: Buffer.from([0]) }), 'packetTooLong'),
  sent('second CONNECT [MQTT-3.1.0-2]', connect(), 'secondConnect'),
  first(
    'packets right behind CONNECT [MQTT-3.1.4-5]',
    bytes(connect(), PINGREQ_BYTES, publish('t', 'x', { qos: 1, id: 3 })),
    'open',
    connack(),
    PINGRESP_BYTES,
    packet(0x40, uint16(3)),
  ),
  first('bad packet right behind CONNECT', bytes(connect(), publish('', 'x')), 'topicEmpty', connack()),
  first('CONNECT and DISCONNECT', bytes(connect(), DISCONNECT_BYTES), 'gone', connack()),
]

const LEVEL_3 = { name: 'MQIsdp', level: 3 }

/** MQTT 3.1, as far as it must not break. */
export const LEVEL_3_CASES: readonly GoldenCase[] = [
  first('3.1: CONNECT', connect(LEVEL_3), 'open', connack()),
  first('3.1: unused flag', connect({ ...LEVEL_3, flags: 0x01, clientId: 'p' }), 'open', connack()),
  first('3.1: unused will bits', connect({ ...LEVEL_3, flags: 0x2a }), 'open', connack()),
  first('3.1: unused header flags', connect({ ...LEVEL_3, first: 0x14 }), 'open', connack()),
  first('3.1: empty client id', connect({ ...LEVEL_3, clientId: '' }), 'emptyClientId', connack(2)),
  { ...sent('3.1: repeated SUBSCRIBE', packet(0x8a, uint16(4), field('t'), 0), 'open', packet(0x90, uint16(4), 0)), hello: 'level 3' },
  { ...sent('3.1: repeated UNSUBSCRIBE', packet(0xaa, uint16(4), field('t')), 'open', packet(0xb0, uint16(4))), hello: 'level 3' },
  { ...sent('3.1: repeated PUBREL', packet(0x6a, uint16(4)), 'open', packet(0x70, uint16(4))), hello: 'level 3' },
  { ...sent('3.1: CONNACK from the device', packet(0x29, 0, 1), 'serverOnlyType'), hello: 'level 3' },
]
