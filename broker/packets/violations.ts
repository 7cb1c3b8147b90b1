/** Why a connection was closed by the packet check. The set is small and fixed, so that it can label a metric. */
export type ViolationCode =
  | 'fixed-header'
  | 'packet-type'
  | 'packet-order'
  | 'length'
  | 'protocol-name'
  | 'protocol-level'
  | 'connect-flags'
  | 'client-id'
  | 'text'
  | 'topic'
  | 'packet-id'
  | 'qos'
  | 'acknowledgement'
  | 'limit'
  | 'keep-alive'
  | 'connect-timeout'

/** One broken rule: what is counted, what is logged, and whether a CONNACK is owed before the close. */
export interface Violation {
  /** Metric label. */
  readonly code: ViolationCode
  /** Clause of the MQTT 3.1.1 text (`MQTT-x.y.z-n`, or `§x.y.z` where the text has no number), or the name of our limit. */
  readonly clause: string
  /** One sentence for the log. Never holds bytes that the client sent. */
  readonly sentence: string
  /** Return code of the CONNACK sent before closing, where the text asks for one. */
  readonly connackCode?: 1 | 2
}

function rule(code: ViolationCode, clause: string, sentence: string): Violation {
  return Object.freeze({ code, clause, sentence })
}

/** Every rule the check can find broken; constants, so that finding one allocates nothing. */
export const VIOLATIONS = {
  reservedType: rule('packet-type', '§2.2.1', 'packet types 0 and 15 are reserved'),
  serverOnlyType: rule('packet-type', '§2.2.1', 'this packet type is sent by servers only'),
  headerFlags: rule('fixed-header', 'MQTT-2.2.2-2', 'reserved bits of the fixed header are not as the standard sets them'),
  lengthBytes: rule('length', '§2.2.3', 'the remaining length takes more than four bytes'),
  packetTooLarge: rule('limit', 'packetBytesMax', 'the packet is larger than this broker accepts'),
  packetTooShort: rule('length', '§3', 'the packet ends before a field it must have'),
  packetTooLong: rule('length', '§3', 'the packet has bytes after its last field'),
  firstNotConnect: rule('packet-order', 'MQTT-3.1.0-1', 'the first packet of a connection must be CONNECT'),
  secondConnect: rule('packet-order', 'MQTT-3.1.0-2', 'a second CONNECT came on one connection'),
  protocolName: rule('protocol-name', 'MQTT-3.1.2-1', 'the protocol name is neither MQTT nor MQIsdp'),
  protocolLevel: Object.freeze({
    ...rule('protocol-level', 'MQTT-3.1.2-2', 'the protocol level is neither 3 nor 4'),
    connackCode: 1,
  } as const),
  connectReserved: rule('connect-flags', 'MQTT-3.1.2-3', 'the reserved CONNECT flag is set'),
  willFlags: rule('connect-flags', 'MQTT-3.1.2-11', 'will QoS or will retain is set without a will'),
  willQos: rule('qos', 'MQTT-3.1.2-14', 'the will asks for QoS 3'),
  passwordAlone: rule('connect-flags', 'MQTT-3.1.2-22', 'a password is announced without a user name'),
  emptyClientId: Object.freeze({
    ...rule('client-id', 'MQTT-3.1.3-8', 'an empty client id needs clean session'),
    connackCode: 2,
  } as const),
  clientIdTooLong: Object.freeze({
    ...rule('limit', 'clientIdBytesMax', 'the client id is longer than this broker accepts'),
    connackCode: 2,
  } as const),
  textInvalid: rule('text', 'MQTT-1.5.3-1', 'a text is not well-formed UTF-8 or holds a surrogate'),
  textNull: rule('text', 'MQTT-1.5.3-2', 'a text holds U+0000'),
  textControl: rule('text', '§1.5.3', 'a text holds a control character or a non-character'),
  topicEmpty: rule('topic', 'MQTT-4.7.3-1', 'a topic name or filter is empty'),
  topicWildcard: rule('topic', 'MQTT-3.3.2-2', 'a topic name holds a wildcard'),
  filterWildcard: rule('topic', 'MQTT-4.7.1-3', 'a wildcard in a topic filter does not stand for a whole level, or # is not last'),
  topicTooLong: rule('limit', 'topicBytesMax', 'a topic name or filter is longer than this broker accepts'),
  topicTooDeep: rule('limit', 'topicLevelsMax', 'a topic name or filter has more levels than this broker accepts'),
  noFilters: rule('length', 'MQTT-3.8.3-3', 'SUBSCRIBE or UNSUBSCRIBE without a topic filter'),
  tooManyFilters: rule(
    'limit',
    'subscriptionsPerSubscribeMax',
    'SUBSCRIBE or UNSUBSCRIBE with more topic filters than this broker accepts',
  ),
  requestedQos: rule('qos', 'MQTT-3-8.3-4', 'a requested QoS is not 0, 1 or 2'),
  packetIdZero: rule('packet-id', 'MQTT-2.3.1-1', 'the packet identifier is 0'),
  publishQos: rule('qos', 'MQTT-3.3.1-4', 'both QoS bits of a PUBLISH are set'),
  publishDup: rule('qos', 'MQTT-3.3.1-2', 'DUP is set on a QoS 0 PUBLISH'),
  wrongAcknowledgement: rule('acknowledgement', 'MQTT-4.3.2-1', 'a delivery was answered with the acknowledgement of another QoS or step'),
  keepAlive: rule('keep-alive', 'MQTT-3.1.2-24', 'no packet came for one and a half times the keep alive'),
  connectTimeout: rule('connect-timeout', 'connectTimeoutMs', 'no CONNECT came in time'),
} as const satisfies Record<string, Violation>
