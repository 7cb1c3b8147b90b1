import type { TestContext } from 'node:test'
import type { Author } from '../../contracts/conversation.ts'
import type { Digest } from '../../contracts/digest.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock, type Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { openTemporaryLog, topicSpec } from '../../storage/event-log/temporary-log.ts'
import { BusKey } from '../bus/bus-key.ts'
import { AgentsConfigSchema, type AgentsConfig } from '../config.ts'
import type { Words } from '../conversation/conversation-document.ts'
import { ConversationStore } from '../conversation/conversation-store.ts'
import { MemoryConfigSchema } from '../memory/config.ts'
import { Memories } from '../memory/memories.ts'
import { ProactiveConfigSchema, type ProactiveConfig } from '../proactive/config.ts'
import type { Opening } from '../conversation/lifecycle.ts'

export const T0 = 1_700_000_000_000
export const LOCAL: Author = { kind: 'local', provider: null, model: null }

/** The default settings with some changed. */
export function agentsConfig(changes: Partial<AgentsConfig> = {}): AgentsConfig {
  const checked = compileSchema(AgentsConfigSchema)({ pollWaitMs: 100, retryInitialMs: 1, retryMaxMs: 5, ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

export const AGENT_TOPICS = [TOPICS.agentLifecycle, TOPICS.chatEvents, TOPICS.agentStatus, TOPICS.agentMessages] as const

/** A started log with the agents' topics and their dead letters; it is gone after the test. */
export async function agentsLog(t: TestContext, clock: Clock = systemClock): Promise<EventLog> {
  const temporary = await openTemporaryLog({ clock })
  t.after(() => temporary.dispose())
  const topics = [...AGENT_TOPICS, TOPICS.alerts, TOPICS.digests, TOPICS.deviceEvents].flatMap((topic) => [topic, `${topic}.dlq`])
  await temporary.log.ensureTopics(topics.map((topic) => topicSpec(topic)))
  return temporary.log
}

/** What agents need beside a team, with its default settings: a memory, and nothing that they look for by themselves. */
export function plainParts(options: { documents: Documents; clock: Clock }): {
  memories: Memories
  proactive: { config: ProactiveConfig }
} {
  const [memory, proactive] = [compileSchema(MemoryConfigSchema)({}), compileSchema(ProactiveConfigSchema)({})]
  if (memory.status === 'invalid' || proactive.status === 'invalid') throw new TypeError('defaults')
  return { memories: new Memories({ ...options, log: silentLogger, config: memory.value }), proactive: { config: proactive.value } }
}

export interface StoreOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  config?: Partial<AgentsConfig>
}

/** A started store over these engines, as one process has it. */
export async function conversationStore(t: TestContext, options: StoreOptions): Promise<ConversationStore> {
  const key = new BusKey(options)
  await key.start()
  const store = new ConversationStore({ ...options, key, log: silentLogger, config: agentsConfig(options.config) })
  await store.start()
  t.after(() => store.stop())
  return store
}

export async function readAll(eventLog: EventLog, topic: string): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  for (const [partition, { first, next }] of await eventLog.bounds(topic)) {
    for (let offset = first; offset < next;) {
      const read = await eventLog.read(topic, partition, offset, 1_000)
      records.push(...read)
      offset = (read.at(-1)?.offset ?? next) + 1
    }
  }
  return records
}

export function words(content: string, changes: Partial<Words> = {}): Words {
  const empty = { to: null, isPrivate: false, claims: [], evidence: [], causes: [], control: null }
  return { ...empty, kind: 'message', content, author: LOCAL, ...changes }
}

/** A discussion of agents. */
export function discussion(id: string, agents: readonly string[]): Opening {
  return {
    ...{ id, tenant: 'default', chatType: 'group', mode: 'discussion', title: 'a test', createdBy: 'user:ana', correlationId: 'c-1' },
    participants: agents.map((agent, i) => ({ id: agent, role: i === 0 ? 'owner' : 'member' })),
  }
}

export const PLAN = ['agent:triage', 'agent:diagnostics', 'agent:historian', 'agent:reporter']

/** A conversation about an incident. */
export function aboutIncident(id: string, changes: Partial<Opening> = {}): Opening {
  return {
    ...{ id, tenant: 'default', chatType: 'group', mode: 'protocol', title: 'value at pump-1', createdBy: 'system', correlationId: 'c-1' },
    participants: PLAN.map((agent) => ({ id: agent, role: 'member' })),
    incident: { id, sequence: 1, severity: 'warning', deviceCount: 1, site: '' },
    plan: PLAN,
    ...changes,
  }
}

export function digest(incident: string, changes: Partial<Digest> = {}): Digest {
  return {
    ...{ incident, tenant: 'default', conversation: incident, revision: 1, publishedAt: T0, headline: 'value at D1', sections: [] },
    ...{ level: 'LIKELY', causes: [], label: 'Written by rules and statistics, no language model', evidenceHash: 'h', evidence: [] },
    author: { kind: 'local', provider: null, model: null },
    ...changes,
  }
}
