import { ANOMALY, type Anomaly } from '../../contracts/anomaly.ts'
import { ALERT, ALERT_1, type AlertChange } from '../../contracts/alert.ts'
import type { ChatType } from '../../contracts/conversation.ts'
import { INCIDENT } from '../../contracts/incident.ts'
import { DEVICE_EVENT } from '../../contracts/device-event.ts'
import { READING, type Reading } from '../../contracts/reading.ts'
import { TOPICS, deviceKey, type TopicName } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { LogFollower } from './log-follower.ts'

/** One event of the live stream, as `event:` and `data:` of server-sent events. */
export interface LiveEvent {
  event: 'reading' | 'anomaly' | 'alert' | 'incident' | 'device' | 'conversation' | 'message' | 'summary'
  device: string
  data: string
}

export interface LiveClient {
  tenant: string
  /** Only this device; undefined for all. */
  device: string | undefined
  /** Wants readings too: they are many. A device id: the readings of this device only. */
  readings: boolean | string
  send(event: LiveEvent): void
  /** The platform stops: ends the stream. */
  end(): void
}

/** What the hub asks of conversations: a private one is nobody's business but its two. */
export interface ConversationKinds {
  chatTypeOf(tenant: string, id: string): Promise<ChatType | null>
}

const FOLLOWED: readonly TopicName[] = [
  ...[TOPICS.readings, TOPICS.anomalies, TOPICS.alerts, TOPICS.deviceEvents],
  ...[TOPICS.chatEvents, TOPICS.agentMessages, TOPICS.digests],
]
/** Conversations of which it is remembered whether all may know of them. */
const KINDS_KEPT = 10_000

/** Follows the log while somebody watches, and hands each event to those who may see it. Never commits: every hub sees everything. */
export class LiveHub {
  readonly #kinds: ConversationKinds
  readonly #follower: LogFollower
  readonly #clients = new Set<LiveClient>()
  readonly #openKeys = new Map<string, boolean>()
  #stopped = false

  constructor(options: { eventLog: EventLog; clock: Clock; log: Logger; conversations: ConversationKinds }) {
    this.#kinds = options.conversations
    this.#follower = new LogFollower({ ...options, topics: FOLLOWED, take: (record) => this.#take(record) })
  }

  get clients(): number {
    return this.#clients.size
  }

  /** Adds a watcher; answers the way to remove it. After `stop` the watcher is ended at once. */
  add(client: LiveClient): () => void {
    if (this.#stopped) {
      client.end()
      return () => undefined
    }
    this.#clients.add(client)
    this.#follower.start()
    return () => {
      this.#clients.delete(client)
      if (this.#clients.size === 0) void this.#follower.stop()
    }
  }

  /** Ends every stream. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const client of this.#clients) client.end()
    this.#clients.clear()
    await this.#follower.stop()
  }

  #take(record: LogRecord): void | Promise<void> {
    const hint = hintOf(record)
    if (hint !== undefined) return this.#hint(record, hint)
    this.#send(record)
  }

  /** Of conversations only that something happened, which whoever may see them then asks for. */
  async #hint({ key }: LogRecord, hint: { tenant: string; conversation: string; event: LiveEvent }): Promise<void> {
    let isOpen = this.#openKeys.get(key)
    if (isOpen === undefined) {
      isOpen = (await this.#kinds.chatTypeOf(hint.tenant, hint.conversation)) === 'group'
      const [oldest] = this.#openKeys.keys()
      if (this.#openKeys.size >= KINDS_KEPT && oldest !== undefined) this.#openKeys.delete(oldest)
      this.#openKeys.set(key, isOpen)
    }
    if (!isOpen) return
    for (const client of this.#clients) if (client.tenant === hint.tenant && client.device === undefined) client.send(hint.event)
  }

  #send(record: LogRecord): void {
    let event: LiveEvent | undefined
    for (const client of this.#clients) {
      if (record.schema === READING && !wantsReading(client, record.key)) continue
      if (client.device !== undefined && record.key !== deviceKey(client.tenant, client.device)) continue
      if (client.device === undefined && !record.key.startsWith(`${client.tenant}/`)) continue
      event ??= toEvent(record)
      if (event === undefined) return
      client.send(event)
    }
  }
}

function wantsReading({ tenant, readings }: LiveClient, key: string): boolean {
  return typeof readings === 'string' ? key === deviceKey(tenant, readings) : readings
}

function toEvent(record: LogRecord): LiveEvent | undefined {
  const text = utf8Text(record.value)
  switch (record.schema) {
    case READING: {
      const { device, ts, receivedAt, values } = JSON.parse(text) as Reading
      return { event: 'reading', device, data: JSON.stringify({ device, ts, receivedAt, values }) }
    }
    case ANOMALY:
      return { event: 'anomaly', device: (JSON.parse(text) as Anomaly).device, data: text }
    case INCIDENT:
      return { event: 'incident', device: '', data: text }
    case ALERT_1:
    case ALERT:
      return { event: 'alert', device: (JSON.parse(text) as AlertChange).alert.device, data: text }
    case DEVICE_EVENT:
      return { event: 'device', device: (JSON.parse(text) as { device?: string }).device ?? '', data: text }
    default:
      return undefined
  }
}

/** Events of conversations that the page shows, by name; who asks for the floor and has it is on the conversation's own socket. */
const HINTS: Readonly<Record<string, LiveEvent['event']>> = {
  ChatCreated: 'conversation',
  ChatUpdated: 'conversation',
  ChatDeleted: 'conversation',
  ParticipantJoined: 'conversation',
  ParticipantLeft: 'conversation',
  ConversationTerminated: 'conversation',
  ProposalCreated: 'conversation',
  ProposalDecided: 'conversation',
  ProposalSettled: 'conversation',
  MessageSent: 'message',
  SummaryPublished: 'summary',
  SummaryRated: 'summary',
}
/** conversationKey and proposalKey of the contracts, taken apart; events of a proposal name their conversation. */
const CONVERSATION_KEY = /^([^/]+)\/(conversation|proposal):(.+)$/

interface Told {
  chatId?: string
  seq?: number
  kind?: string
  revision?: number
}

function hintOf({ key, schema, value }: LogRecord): { tenant: string; conversation: string; event: LiveEvent } | undefined {
  const type = schema.split('/')[0] ?? ''
  const event = HINTS[type]
  const [, tenant, of, id] = CONVERSATION_KEY.exec(key) ?? []
  if (event === undefined || tenant === undefined || id === undefined) return undefined
  const { chatId, seq = null, kind = null, revision = null } = JSON.parse(utf8Text(value)) as Told
  const conversation = of === 'proposal' ? chatId : id
  if (conversation === undefined) return undefined
  const details = event === 'message' ? { seq, kind } : event === 'summary' ? { revision } : {}
  return { tenant, conversation, event: { event, device: '', data: JSON.stringify({ conversation, change: type, ...details }) } }
}
