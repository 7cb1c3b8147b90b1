import { describeError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Timer } from '../../kernel/time.ts'
import { tell } from '../bus/outbox.ts'
import { ToldStore, type ToldStoreOptions } from '../bus/told-store.ts'
import { furthest, step, type RunState } from '../turns/run-state.ts'
import {
  ATTENTION_COLLECTION,
  attentionDocumentId,
  type Attention,
  type AttentionActivity,
  type AttentionDocument,
  type AttentionPart,
  type QueuedDialogue,
} from './attention-document.ts'
import type { SiteCredit } from './attention.ts'

/** Dialogues of one agent that one process writes down, most urgent first: after a restart the rest is found in the store. */
const QUEUE_KEPT = 50
const CREDITS_KEPT = 100
/** Part of `attentionGoneMs` after which a part is written again although nothing changed. */
const RENEW_SHARE = 1 / 3

/** A dialogue in the queue of a process, and whose turn it would be. */
export interface WaitingDialogue extends QueuedDialogue {
  tenant: string
  agent: string
}
export interface AttentionSnapshot {
  waiting: readonly WaitingDialogue[]
  credits: readonly SiteCredit[]
}

export interface RestoredAttention {
  /** Conversations that waited here, or in which an agent was speaking, when this process ended. */
  conversations: { tenant: string; id: string; wasFocus: boolean }[]
  credits: SiteCredit[]
}

export type AttentionStatesOptions = Omit<ToldStoreOptions<AttentionDocument>, 'collection' | 'noun' | 'settle' | 'config'> & {
  config: ToldStoreOptions<AttentionDocument>['config'] & { attentionWriteMs: number; attentionGoneMs: number }
  /** This process, the same after every start. */
  worker: string
}

interface Activity extends AttentionActivity {
  tenant: string
  agent: string
}

/**
 * What agents attend to, in the documents: the queue, the turns under way and the focus, which is told when it changes. Written a moment after
 * it changed, together; what a crash loses of it the conversations themselves still say.
 */
export class AttentionStates implements Service {
  readonly name = 'attention-states'
  readonly #options: AttentionStatesOptions
  readonly #store: ToldStore<AttentionDocument>
  readonly #activities = new Map<string, Activity>()
  /** Agents of which something is written: empty queues are written too, once. */
  readonly #written = new Map<string, { tenant: string; agent: string; content: string; at: number }>()
  #snapshot: () => AttentionSnapshot = () => ({ waiting: [], credits: [] })
  #timer: Timer | undefined
  #flushing: Promise<void> = Promise.resolve()

  constructor(options: AttentionStatesOptions) {
    this.#options = options
    this.#store = new ToldStore<AttentionDocument>({ ...options, collection: ATTENTION_COLLECTION, noun: 'attention' })
  }

  async start(): Promise<void> {
    await this.#store.start()
    const { clock, config, log } = this.#options
    this.#timer ??= every(
      clock,
      config.attentionWriteMs,
      () => (this.#flushing = this.flush()),
      (error) => log.warn({ error: describeError(error) }, 'what agents attend to is not written yet'),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#flushing.catch(() => undefined)
    await this.#store.stop()
  }

  /** Before turns are told to end: what they were about stays written for the next start. */
  async freeze(): Promise<void> {
    const { log } = this.#options
    this.#timer?.cancel()
    await this.#flushing.catch(() => undefined)
    await this.flush().catch((error: unknown) =>
      log.warn({ error: describeError(error) }, 'what agents attend to was not written at the end'),
    )
  }

  /** Where the queue is looked at when it is written. */
  follow(snapshot: () => AttentionSnapshot): void {
    this.#snapshot = snapshot
  }

  /** What this process had when it ended. */
  async restore(): Promise<RestoredAttention> {
    const { worker } = this.#options
    const found = await this.#store.collection.find({ 'parts.process': worker })
    const conversations = new Map<string, { tenant: string; id: string; wasFocus: boolean }>()
    const credits = new Map<string, number>()
    for (const { tenant, agent, parts } of found) {
      const mine = parts.find(({ process }) => process === worker)
      if (mine === undefined) continue
      for (const { conversation: id } of mine.queue) conversations.set(id, { tenant, id, wasFocus: false })
      for (const { conversation: id } of mine.activities) conversations.set(id, { tenant, id, wasFocus: true })
      for (const { site, credit } of mine.credits) credits.set(site, credit)
      this.#written.set(attentionDocumentId(tenant, agent), { tenant, agent, content: '', at: -Infinity })
    }
    return { conversations: [...conversations.values()], credits: Array.from(credits, ([site, credit]) => ({ site, credit })) }
  }

  /** An agent begins a turn; what it answers moves it on and, at last, ends it. */
  begins(tenant: string, agent: string, conversation: string): { goes: (to: RunState) => void; ends: () => void } {
    const key = `${attentionDocumentId(tenant, agent)}/${conversation}`
    const activity: Activity = {
      ...{ tenant, agent, conversation, since: this.#options.clock.nowMs() },
      runState: step(step('idle', 'waiting'), 'generating'),
    }
    this.#activities.set(key, activity)
    const goes = (to: RunState): void => {
      activity.runState = step(activity.runState, to)
    }
    const ends = (): void => {
      goes('waiting')
      if (this.#activities.get(key) === activity) this.#activities.delete(key)
    }
    return { goes, ends }
  }

  /** What an agent attends to, of all processes that live; idle where nothing was ever written. */
  async of(tenant: string, agent: string): Promise<Attention> {
    const stored = await this.#store.collection.get(attentionDocumentId(tenant, agent))
    const parts = stored?.tenant === tenant ? this.#live(stored.parts) : []
    const activities = parts.flatMap((part) => part.activities)
    const waiting = parts.reduce((sum, part) => sum + part.waiting, 0)
    const queue = parts.flatMap((part) => part.queue).toSorted((a, b) => b.priority - a.priority)
    return {
      agentId: agent,
      runState: furthest([...activities.map((each) => each.runState), waiting > 0 ? 'waiting' : 'idle']),
      currentFocus: focusOf(activities),
      activities: activities.map(({ conversation, runState, since }) => ({ dialogueId: conversation, runState, since })),
      waiting,
      attentionQueue: queue.map(({ conversation, ...rest }) => ({ dialogueId: conversation, ...rest })),
      lastUpdated: stored?.lastUpdated ?? 0,
    }
  }

  /** Tells what may not have been told. */
  republish(): Promise<void> {
    return this.#store.republish()
  }

  /** Writes what changed since it was written last. */
  async flush(): Promise<void> {
    const { waiting, credits } = this.#snapshot()
    const agents = new Map<string, { tenant: string; agent: string }>()
    const known = [...waiting, ...this.#activities.values()]
    for (const { tenant, agent } of known) agents.set(attentionDocumentId(tenant, agent), { tenant, agent })
    for (const [id, { tenant, agent }] of this.#written) agents.set(id, { tenant, agent })
    for (const [id, of] of agents) await this.#write(id, of, waiting, credits)
  }

  async #write(
    id: string,
    { tenant, agent }: { tenant: string; agent: string },
    waiting: readonly WaitingDialogue[],
    credits: readonly SiteCredit[],
  ): Promise<void> {
    const { worker, clock, config } = this.#options
    const ofAgent = (each: { tenant: string; agent: string }): boolean => each.tenant === tenant && each.agent === agent
    const queued = waiting.filter(ofAgent).toSorted((a, b) => b.priority - a.priority)
    const activities = [...this.#activities.values()].filter(ofAgent)
    const part: Omit<AttentionPart, 'at'> = {
      process: worker,
      waiting: queued.length,
      queue: queued.slice(0, QUEUE_KEPT).map(({ conversation, priority, since, lastInteraction }) => ({
        ...{ conversation, priority: Math.round(priority), since, lastInteraction },
      })),
      activities: activities.map(({ conversation, runState, since }) => ({ conversation, runState, since })),
      credits: credits.slice(0, CREDITS_KEPT),
    }
    // Points grow with time alone: that is no change.
    const { queue, credits: _credits, ...plain } = part
    const content = JSON.stringify([plain, queue.map(({ conversation, since }) => [conversation, since])])
    const nowMs = clock.nowMs()
    const before = this.#written.get(id)
    // What stays as it is is written again now and then: it shows that this process lives.
    if (before?.content === content && nowMs - before.at < config.attentionGoneMs * RENEW_SHARE) return
    if ((await this.#store.collection.get(id)) === null) await this.#store.insert(id, empty(id, tenant, agent, nowMs))
    await this.#store.change({ id, tenant }, (known) => {
      const others = this.#live(known.parts).filter(({ process }) => process !== worker)
      const parts = part.waiting === 0 && part.activities.length === 0 ? others : [...others, { ...part, at: nowMs }]
      return told({ ...known, parts, lastUpdated: nowMs }, nowMs)
    })
    if (part.waiting === 0 && part.activities.length === 0) this.#written.delete(id)
    else this.#written.set(id, { tenant, agent, content, at: nowMs })
  }

  /** A process that is gone for good attends to nothing any more. */
  #live(parts: readonly AttentionPart[]): AttentionPart[] {
    const { clock, config } = this.#options
    return parts.filter(({ at }) => clock.nowMs() - at < config.attentionGoneMs)
  }
}

/** Tells a change of the focus, and with it where the agent's turn is. */
function told(document: AttentionDocument, nowMs: number): AttentionDocument {
  const { agent, parts, currentFocus } = document
  const activities = parts.flatMap((part) => part.activities)
  const focus = focusOf(activities)
  if (focus === currentFocus) return document
  const waiting = parts.reduce((sum, part) => sum + part.waiting, 0)
  const runState = furthest([...activities.map((each) => each.runState), waiting > 0 ? 'waiting' : 'idle'])
  const status = { agentId: agent, newStatus: activities.length > 0 ? 'busy' : 'idle', focus, runState }
  const next = tell({ ...document, currentFocus: focus }, 'AttentionChanged', { agentId: agent, focus, waiting }, nowMs)
  return tell(next, 'AgentStatusUpdated', status, nowMs)
}

/** The conversation that was taken up last; of two at once the first by id, so that every process says the same. */
function focusOf(activities: readonly AttentionActivity[]): string | null {
  const [latest] = activities.toSorted((a, b) => b.since - a.since || (a.conversation < b.conversation ? -1 : 1))
  return latest?.conversation ?? null
}

function empty(id: string, tenant: string, agent: string, nowMs: number): AttentionDocument {
  return {
    ...{ v: 1, id, tenant, agent, parts: [], currentFocus: null, lastUpdated: nowMs },
    ...{ correlationId: id, sequence: 0, outbox: [], unpublishedSince: null },
  }
}
