import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { agentKey, conversationKey } from '../../contracts/conversation.ts'
import { proposalKey } from '../../contracts/proposal.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import { spanIdOf, traceparentOf } from '../../kernel/trace-ids.ts'
import type { LogMessage, LogRecord } from '../../storage/event-log/event-log.ts'
import { deprecationOf, DEPRECATIONS } from './deprecations.ts'
import { checkEvent, latestVersion, READABLE_FROM } from './event-schemas.ts'
import { EVENT_TOPICS, type EventType } from './event-types.ts'
import type { OutboxEntry, Told } from './outbox.ts'

/** An event as consumers get it: attributes of CloudEvents 1.0 and the data. */
export interface BusEvent {
  /** The same event has the same id, however often it is told. */
  id: string
  type: EventType
  version: number
  tenant: string
  /** The thing that it happened to: `conversation:ID` or `agent:ID`. */
  stream: string
  /** Its place among the events of its thing. */
  sequence: number
  at: number
  correlationId: string
  data: Record<string, unknown>
}

/** `unsigned` and `forged`: nobody of ours wrote it. `unknown`: ours, of a type or version that cannot be read here; `retired`: not any more. */
export type RefusalReason = 'unsigned' | 'forged' | 'unknown' | 'retired' | 'malformed'
export type Opened =
  | { status: 'event'; event: BusEvent }
  /** `tenant`, `id`: of what is ours; null: who wrote it may have written anything. */
  | { status: 'refused'; reason: RefusalReason; why: string; tenant: string | null; id: string | null }

const TYPE = /^iot\.agents\.([A-Za-z]+)\.v(\d{1,6})$/
const SOURCE = '/agents'
/** CloudEvents 1.0, binary content mode: attributes travel as headers, the value is the data alone. */
const PREFIX = 'ce_'

/** The message of an event; `key` signs it, so that whoever may append to the topic but has not the key cannot speak for an agent. */
export function seal(entry: OutboxEntry, of: Pick<Told, 'id' | 'tenant' | 'correlationId'>, key: Uint8Array): LogMessage {
  const { type, sequence, at, data } = entry
  const version = latestVersion(type)
  const stream = streamOf(type, of.id)
  const attributes: Record<string, string> = {
    specversion: '1.0',
    id: `${stream}:${sequence}`,
    type: `iot.agents.${type}.v${version}`,
    source: SOURCE,
    traceparent: traceparentOf(of.correlationId, spanIdOf(stream, sequence)),
    subject: stream,
    time: new Date(at).toISOString(),
    dataschema: `urn:iot:schema:${type}:${version}`,
    datacontenttype: 'application/json',
    tenant: of.tenant,
    partitionkey: of.id,
    correlationid: of.correlationId,
    sequence: String(sequence),
    readablefrom: String(READABLE_FROM),
  }
  return {
    key: keyOf(stream, of),
    schema: `${type}/${version}`,
    ...signed(attributes, data, key),
  }
}

/** Data and attributes as value and headers, with a signature over both. */
export function signed(
  attributes: Readonly<Record<string, string>>,
  data: unknown,
  key: Uint8Array,
): { value: Uint8Array; headers: Record<string, string> } {
  const value = Buffer.from(JSON.stringify(data))
  const all = { ...attributes, signature: signatureOf(attributes, value, key) }
  return { value, headers: Object.fromEntries(Object.entries(all).map(([name, text]) => [PREFIX + name, text])) }
}

/** Reads and checks a message: signature first, then type, version, data, and whether it is where its like belongs. */
export function open(
  record: Pick<LogRecord, 'headers' | 'value'> & { topic?: string },
  key: Uint8Array,
  deprecations = DEPRECATIONS,
): Opened {
  const attributes: Record<string, string> = {}
  for (const [name, text] of Object.entries(record.headers)) if (name.startsWith(PREFIX)) attributes[name.slice(PREFIX.length)] = text
  const { signature, ...rest } = attributes
  if (signature === undefined) return foreign('unsigned', 'it bears no signature')
  if (!isSame(signature, signatureOf(rest, record.value, key))) {
    return foreign('forged', 'its signature is of another key or of other content')
  }
  const { type, version } = named(rest)
  const deprecation = deprecationOf(type, version, deprecations)
  if (deprecation?.retired === true) {
    const why = `${type}/${version} is read no more since ${deprecation.until}; ${deprecation.replacedBy} replaces it`
    return { status: 'refused', reason: 'retired', why, tenant: rest.tenant ?? '', id: rest.id ?? '' }
  }
  return ours(rest, record)
}

function foreign(reason: 'unsigned' | 'forged', why: string): Opened {
  return { status: 'refused', reason, why, tenant: null, id: null }
}

/** What whoever has the key wrote; it may be newer than this code, or wrong. */
function ours(attributes: Readonly<Record<string, string>>, { value, topic }: Pick<LogRecord, 'value'> & { topic?: string }): Opened {
  const { id = '', subject = '', tenant = '', correlationid = '' } = attributes
  const refused = (reason: RefusalReason, why: string): Opened => ({ status: 'refused', reason, why, tenant, id })
  const { type, version } = named(attributes)
  const data = parsed(value)
  if (data === undefined) return refused('malformed', 'its data is no JSON object')
  const readableFrom = attributes.readablefrom === undefined ? undefined : Number(attributes.readablefrom)
  const check = checkEvent(type, version, data, readableFrom)
  if (check.status !== 'valid') return refused(check.status === 'invalid' ? 'malformed' : 'unknown', check.why)
  const [sequence, at] = [Number(attributes.sequence), Date.parse(attributes.time ?? '')]
  if (!Number.isSafeInteger(sequence) || sequence < 1 || !Number.isFinite(at)) return refused('malformed', 'it has no place or no time')
  if (subject === '' || tenant === '' || id !== `${subject}:${sequence}`)
    return refused('malformed', `${id} is not the id of ${subject}:${sequence}`)
  const belongs = EVENT_TOPICS[type as EventType]
  if (topic !== undefined && topic !== belongs) return refused('malformed', `${type} belongs on ${belongs}`)
  return {
    status: 'event',
    event: { id, type: type as EventType, version, tenant, stream: subject, sequence, at, correlationId: correlationid, data },
  }
}

function named(attributes: Readonly<Record<string, string>>): { type: string; version: number } {
  const [, type = '', version = ''] = TYPE.exec(attributes.type ?? '') ?? []
  return { type, version: Number(version) }
}

function keyOf(stream: string, { tenant, id }: Pick<Told, 'id' | 'tenant'>): string {
  if (stream.startsWith('agent:')) return agentKey(tenant, id)
  return stream.startsWith('proposal:') ? proposalKey(tenant, id) : conversationKey(tenant, id)
}

function streamOf(type: EventType, id: string): string {
  if (type.startsWith('Proposal')) return `proposal:${id}`
  const isOfAgent = EVENT_TOPICS[type] === EVENT_TOPICS.AgentIntroduced || EVENT_TOPICS[type] === EVENT_TOPICS.AgentStatusUpdated
  return `${isOfAgent ? 'agent' : 'conversation'}:${id}`
}

function signatureOf(attributes: Readonly<Record<string, string>>, value: Uint8Array, key: Uint8Array): string {
  const content = canonicalJson({ attributes, data: createHash('sha256').update(value).digest('hex') })
  return `hmac-sha256:${createHmac('sha256', key).update(content).digest('base64url')}`
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

function parsed(value: Uint8Array): Record<string, unknown> | undefined {
  try {
    const data: unknown = JSON.parse(Buffer.from(value).toString('utf8'))
    return typeof data === 'object' && data !== null && !Array.isArray(data) ? (data as Record<string, unknown>) : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
