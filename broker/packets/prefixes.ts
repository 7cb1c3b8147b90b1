import { newId } from '../../kernel/ids.ts'
import { bodyStart, lengthFieldBytes, readUint16, writeLengthField, writeUint16 } from './framing.ts'
import { SUBSCRIBE } from './packet-types.ts'
import type { ConnectFields } from './packet-state.ts'

/** Names put in front of what a device says, and taken off what it hears; empty strings switch it off and cost nothing. */
export interface NamePrefixes {
  /** Put before will topic and subscription filters, taken off delivered topics; `''` or ends with `/`, e.g. `acme/`. */
  readonly topicPrefix: string
  /** Put before the client id; `''` or e.g. `acme/`. */
  readonly clientIdPrefix: string
}

export const NO_PREFIXES: NamePrefixes = { topicPrefix: '', clientIdPrefix: '' }

/** A CONNECT with the prefixes in it. An empty client id becomes a unique one, or all such devices of a tenant would be one [MQTT-3.1.3-6]. */
export function prefixConnect(packet: Buffer, fields: ConnectFields, prefixes: NamePrefixes, nowMs: number): Buffer {
  const { clientIdAt, willTopicAt } = fields
  const clientIdEnd = clientIdAt + 2 + readUint16(packet, clientIdAt)
  const clientId = prefixes.clientIdPrefix === '' ? fields.clientId : prefixes.clientIdPrefix + (fields.clientId || newId(nowMs))
  const parts = [packet.subarray(bodyStart(packet, 0), clientIdAt), textField(Buffer.from(clientId))]
  if (willTopicAt === undefined) parts.push(packet.subarray(clientIdEnd))
  else {
    const willTopicEnd = willTopicAt + 2 + readUint16(packet, willTopicAt)
    parts.push(textField(Buffer.from(prefixes.topicPrefix), packet.subarray(willTopicAt + 2, willTopicEnd)), packet.subarray(willTopicEnd))
  }
  return assemble(packet[0]!, parts)
}

/** A SUBSCRIBE or UNSUBSCRIBE with the prefix before each filter. */
export function prefixFilters(packet: Buffer, prefix: Buffer): Buffer {
  const optionBytes = packet[0]! >>> 4 === SUBSCRIBE ? 1 : 0
  let at = bodyStart(packet, 0) + 2
  const parts = [packet.subarray(at - 2, at)]
  while (at < packet.length) {
    const filterEnd = at + 2 + readUint16(packet, at)
    parts.push(textField(prefix, packet.subarray(at + 2, filterEnd)), packet.subarray(filterEnd, filterEnd + optionBytes))
    at = filterEnd + optionBytes
  }
  return assemble(packet[0]!, parts)
}

/**
 * Takes the prefix off the topic of a PUBLISH, in place, moving it to `to` (not behind `at`); returns its new end, or `to` when the topic
 * has no such prefix: a name of somebody else, which the device must not see.
 */
export function stripTopic(bytes: Buffer, at: number, end: number, prefix: Buffer, to: number): number {
  const body = bodyStart(bytes, at)
  const topicBytes = readUint16(bytes, body)
  if (topicBytes <= prefix.length || bytes.compare(prefix, 0, prefix.length, body + 2, body + 2 + prefix.length) !== 0) return to
  bytes[to] = bytes[at]!
  const topicAt = writeLengthField(bytes, to + 1, end - body - prefix.length)
  writeUint16(bytes, topicAt, topicBytes - prefix.length)
  bytes.copyWithin(topicAt + 2, body + 2 + prefix.length, end)
  return topicAt + 2 + end - (body + 2 + prefix.length)
}

function textField(...parts: Buffer[]): Buffer {
  const length = Buffer.alloc(2)
  writeUint16(
    length,
    0,
    parts.reduce((sum, part) => sum + part.length, 0),
  )
  return Buffer.concat([length, ...parts])
}

/** A packet from its first byte and the parts of what follows the length field. */
export function assemble(first: number, parts: readonly Buffer[]): Buffer {
  const remaining = parts.reduce((sum, part) => sum + part.length, 0)
  const header = Buffer.alloc(1 + lengthFieldBytes(remaining))
  header[0] = first
  writeLengthField(header, 1, remaining)
  return Buffer.concat([header, ...parts])
}
