import { setMaxListeners } from 'node:events'
import { describeError, InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { Sweeper } from '../../kernel/sweeper.ts'
import type { SpanSink } from '../../kernel/spans.ts'
import { every, type Clock } from '../../kernel/time.ts'
import { score, type Dialogue } from '../attention/attention.ts'
import { AttentionQueue } from '../attention/attention-queue.ts'
import type { AttentionStates, WaitingDialogue } from '../attention/attention-states.ts'
import type { AgentsConfig } from '../config.ts'
import { isAgent, type ConversationDocument, type StoredConversation } from '../conversation/conversation-document.ts'
import type { Changed } from '../bus/told-store.ts'
import type { ConversationStore } from '../conversation/conversation-store.ts'
import { erase, speak, take, yieldFloor, type Taken } from '../conversation/lifecycle.ts'
import { moderate, type Limits } from '../conversation/moderation.ts'
import { endOf } from '../conversation/termination.ts'
import { inOrder } from '../floor/floor.ts'
import type { Roster } from '../roster/roster.ts'
import { amongTop } from './among-top.ts'
import type { RunState } from './run-state.ts'
import type { Speaker, TurnResult } from './speaker.ts'
import { tellTurn } from './turn-spans.ts'
import { TurnMetrics } from './turn-metrics.ts'

const RETENTION_INTERVAL_MS = 3_600_000
/** How often a turn looks whether it is still wanted. */
const WATCH_MS = 250
/** Part of the lease after which a turn is told to come to an end. */
const LEASE_SHARE = 0.9

export interface TurnWorkerOptions {
  store: ConversationStore
  roster: Roster
  attention: AttentionStates
  /** What the agent of this id does; undefined for one that nobody here can speak for. */
  speakerOf: (tenant: string, agent: string) => Promise<Speaker | undefined>
  /** Removes what is kept of an incident beside its conversation, before that goes. */
  forgetIncident: (tenant: string, incident: string) => Promise<void>
  /** Tells this worker's grants from those of others. */
  worker: string
  clock: Clock
  log: Logger
  metrics: Metrics
  config: AgentsConfig
  limits: Limits
  /** Where the spans of turns go besides the log. */
  spans?: SpanSink
}

type Granted = Extract<Taken, { status: 'granted' }>

/** A conversation in which something is due, and the agent that has the next word there; null: the moderator alone. */
type Due = Dialogue & { tenant: string; agent: string | null; lastInteraction: number }

/**
 * Gives agents their turns: what this process changed is looked at at once, what others left is found by a sweep. Several workers on one
 * store are the rule: the grant of the floor decides between them.
 */
export class TurnWorker implements Service {
  readonly name = 'turn-worker'
  readonly #options: TurnWorkerOptions
  readonly #sweeper: Sweeper
  /** By itself: a log that is away must not hold up who has a turn, or loses it. */
  readonly #republisher: Sweeper
  readonly #queue: AttentionQueue<Due>
  readonly #running = new Map<string, Promise<void>>()
  /** Taken up again after a restart: until their first turn they were the focus. */
  readonly #resumed = new Set<string>()
  readonly #metrics: TurnMetrics
  #unsubscribe: (() => void) | undefined
  #stop = new AbortController()
  #retainedAtMs = -Infinity

  constructor(options: TurnWorkerOptions) {
    this.#options = options
    const { clock, log, config, metrics } = options
    this.#sweeper = new Sweeper({ what: 'conversations', intervalMs: config.sweepIntervalMs, clock, log, sweep: () => this.sweep() })
    this.#republisher = new Sweeper({
      ...{ what: 'unpublished events of agents', intervalMs: config.sweepIntervalMs, clock, log },
      sweep: () => this.republish(),
    })
    this.#queue = new AttentionQueue<Due>(config)
    this.#metrics = new TurnMetrics(metrics)
  }

  async start(): Promise<void> {
    if (this.#unsubscribe !== undefined) return
    this.#stop = new AbortController()
    // Each turn under way listens to it.
    setMaxListeners(this.#options.config.turnsInFlightMax + 1, this.#stop.signal)
    const { store, attention, clock } = this.#options
    attention.follow(() => ({
      waiting: [...this.#queue.values()].flatMap((due) => waitingOf(due, clock.nowMs())),
      credits: this.#queue.credits,
    }))
    this.#unsubscribe = store.onChanged((conversation) => this.#consider(conversation))
    await this.#resume()
    this.#sweeper.start()
    this.#republisher.start()
  }

  /** Goes on where this process was when it ended: what it was in the middle of first. */
  async #resume(): Promise<void> {
    const { attention, store } = this.#options
    const { conversations, credits } = await attention.restore()
    if (conversations.length === 0) return
    this.#queue.restore(credits)
    for (const { id, wasFocus } of conversations) if (wasFocus) this.#resumed.add(id)
    const found = await store.collection.find({ id: { $in: conversations.map(({ id }) => id) } })
    for (const conversation of found) this.#consider(conversation)
  }

  /** Turns under way are told to end; what they had not said another worker says when the lease is over. */
  async stop(): Promise<void> {
    if (this.#unsubscribe === undefined) return
    this.#unsubscribe()
    this.#unsubscribe = undefined
    await this.#options.attention.freeze()
    this.#stop.abort()
    await this.#sweeper.stop()
    await this.#republisher.stop()
    this.#queue.clear()
    await Promise.allSettled(this.#running.values())
  }

  /** Conversations that wait here for a turn, and turns under way. */
  get load(): { waiting: number; running: number } {
    return { waiting: this.#queue.size, running: this.#running.size }
  }

  /** Resolves when nothing is under way: for tests. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values())
  }

  /** What is due by time, of whichever process. */
  async sweep(): Promise<void> {
    const { store, clock, config } = this.#options
    const nowMs = clock.nowMs()
    const due = await store.collection.find({ dueAt: { $lte: nowMs } }, { sort: { dueAt: 1 }, limit: config.dialoguesMax })
    // However much waits longer, what is critical is seen.
    const critical =
      due.length < config.dialoguesMax
        ? []
        : await store.collection.find({ dueAt: { $lte: nowMs }, severity: 'critical' }, { sort: { dueAt: 1 }, limit: config.dialoguesMax })
    for (const conversation of [...critical, ...due]) this.#consider(conversation)
    this.#metrics.active(await store.collection.count({ dueAt: { $gt: 0 } }))
    await store.removeErased(config.dialoguesMax, this.#options.forgetIncident)
    if (nowMs - this.#retainedAtMs < RETENTION_INTERVAL_MS) return
    this.#retainedAtMs = nowMs
    await this.retain()
  }

  /** Tells what may not have been told, of conversations, agents and what they attend to. */
  async republish(): Promise<void> {
    const { store, roster, attention } = this.#options
    await store.republish()
    await roster.republish()
    await attention.republish()
  }

  /** Erases conversations that ended longer ago than they are kept, and those that do not open and would have. */
  async retain(): Promise<void> {
    const { store, clock, config, limits } = this.#options
    const nowMs = clock.nowMs()
    const beforeMs = nowMs - config.retentionMs
    await store.stepUnopened(beforeMs, config.dialoguesMax, (conversation) => erase(conversation, nowMs, limits))
    const ended = { $lt: beforeMs, $gt: 0 }
    const old = await store.collection.find({ terminatedAt: ended, erasedAt: null }, { limit: config.dialoguesMax })
    for (const { id, tenant } of old) await store.change({ id, tenant }, (conversation) => erase(conversation, nowMs, limits))
  }

  /**
   * Stores a new conversation. Where nobody waits for a turn and one is free, its first agent has the floor from the first moment: that
   * spares a commit before its first word. Null: it is there already.
   */
  async open(conversation: ConversationDocument): Promise<StoredConversation | null> {
    const { store, clock, config, limits, worker } = this.#options
    const { id } = conversation
    const isFree = this.#unsubscribe !== undefined && this.#queue.size === 0 && this.#running.size < config.turnsInFlightMax
    const nowMs = clock.nowMs()
    const taken: Taken = isFree && !this.#running.has(id) ? take(conversation, worker, nowMs, limits) : { status: 'busy' }
    if (taken.status !== 'granted') return store.insert(id, conversation)
    const inserting = store.inserting(id, taken.conversation)
    // Where it fails the caller hears it.
    const inserted = inserting.catch(() => null)
    this.#runs(id, async () => {
      const changed = await inserted
      if (changed !== null) await this.#granted(changed, taken, nowMs)
    })
    const changed = await inserting
    await changed?.told
    return changed?.stored ?? null
  }

  #consider(conversation: StoredConversation): void {
    const { clock, limits } = this.#options
    const { id, tenant, dueAt, severity, deviceCount, site, lastActivity, turns, floor, questions } = conversation
    const nowMs = clock.nowMs()
    if (this.#unsubscribe === undefined) return
    if (dueAt === null || dueAt > nowMs) {
      this.#queue.delete(id)
      return
    }
    const next = inOrder(floor, limits)[0]?.participant ?? null
    const due: Due = {
      ...{ tenant, conversation: id, severity, deviceCount, site, lastInteraction: lastActivity, turnsTaken: turns },
      agent: next !== null && isAgent(next) ? next.slice('agent:'.length) : null,
      since: Math.min(lastActivity, ...floor.queue.map(({ at }) => at)),
      deadlineAt: endOf(conversation, limits).at,
      isHuman: questions.length > 0,
      wasFocus: this.#resumed.has(id),
    }
    this.#queue.put(due, nowMs)
    this.#pump()
  }

  #pump(): void {
    const { clock, config } = this.#options
    while (this.#running.size < config.turnsInFlightMax) {
      const next = this.#queue.next(({ conversation }) => !this.#running.has(conversation), clock.nowMs())
      if (next === null) return
      const { conversation: id, tenant } = next
      this.#resumed.delete(id)
      this.#runs(id, () => this.#turn({ id, tenant }))
    }
  }

  #runs(id: string, turn: () => Promise<void>): void {
    const running = turn()
      .catch((error: unknown) =>
        this.#options.log.error({ conversation: id, error: describeError(error) }, 'a turn failed; its lease ends it'),
      )
      .finally(() => {
        this.#running.delete(id)
        this.#pump()
      })
    this.#running.set(id, running)
  }

  async #turn(of: { id: string; tenant: string }): Promise<void> {
    const { store, clock, limits, worker } = this.#options
    let taken: Taken = { status: 'empty' }
    let askedAt = 0
    const changed = await store.changing(of, (document) => {
      // Another worker may have been faster: what was granted at the last try is void.
      taken = { status: 'empty' }
      const nowMs = clock.nowMs()
      if (document.dueAt === null || document.dueAt > nowMs) return document
      askedAt = document.floor.queue[0]?.at ?? nowMs
      taken = take(document, worker, nowMs, limits)
      return taken.status === 'granted' ? taken.conversation : this.#counted(document, moderate(document, nowMs, limits))
    })
    // The compiler does not see that the step ran.
    const granted = taken as Taken
    if (granted.status === 'granted') await this.#granted(changed, granted, askedAt)
  }

  /** The turn of an agent that has the floor. */
  async #granted(
    { stored: conversation, told }: Changed<ConversationDocument>,
    { participant, epoch }: Granted,
    askedAt: number,
  ): Promise<void> {
    const { clock, roster, attention } = this.#options
    const { id, tenant } = conversation
    this.#metrics.waited(clock.nowMs() - askedAt)
    if (conversation.incidentId !== null && epoch === 1) void told.then(() => this.#metrics.began(clock.nowMs() - conversation.createdAt))
    const agent = participant.slice('agent:'.length)
    const ends = roster.begins(tenant, agent, id)
    const run = attention.begins(tenant, agent, id)
    try {
      await this.#run(conversation, { agent, participant, epoch }, run.goes)
    } finally {
      run.ends()
      ends()
    }
  }

  async #run(
    conversation: StoredConversation,
    { agent, participant, epoch }: { agent: string; participant: string; epoch: number },
    goes: (to: RunState) => void,
  ): Promise<void> {
    const { store, clock, log, spans } = this.#options
    const startedAt = clock.nowMs()
    const result = await this.#speaking(conversation, { agent, participant, epoch })
    this.#metrics.turnEnded(agent, result.status)
    tellTurn(log, spans, { conversation, agent, epoch, startedAt, endedAt: clock.nowMs(), result })
    if (result.status === 'said') goes('responding')
    const step = (document: ConversationDocument): ConversationDocument =>
      this.#counted(document, this.#ended(document, { participant, epoch }, result))
    const { told } = await store.changing(conversation, step)
    if (result.status !== 'said' || result.digest === undefined) return
    const kind = result.words.author.kind === 'model' ? 'llm' : 'local'
    void told.then(() => this.#metrics.published(kind, clock.nowMs() - conversation.roundStartedAt))
  }

  #ended(document: ConversationDocument, turn: { participant: string; epoch: number }, result: TurnResult): ConversationDocument {
    const { clock, limits, log } = this.#options
    const nowMs = clock.nowMs()
    if (result.status === 'said') {
      const { words, digest, again = false } = result
      const spoken = speak(document, { ...turn, words, again, ...(digest === undefined ? {} : { digest }) }, nowMs, limits)
      if (spoken.status === 'said') return spoken.conversation
      log.info({ conversation: document.id, ...turn, status: spoken.status }, 'words came too late and were not taken')
      if (spoken.status !== 'too-much') return document
    }
    const end = result.status === 'said' ? 'failed' : result.status
    return yieldFloor(document, turn, end, nowMs, limits)
  }

  async #speaking(conversation: StoredConversation, turn: { agent: string; participant: string; epoch: number }): Promise<TurnResult> {
    const { store, speakerOf, clock, log, limits } = this.#options
    const abort = new AbortController()
    const stop = (): void => abort.abort()
    this.#stop.signal.addEventListener('abort', stop, { once: true })
    const deadline = clock.after(limits.leaseMs * LEASE_SHARE, stop)
    const watch = every(
      clock,
      WATCH_MS,
      async () => {
        const { floor } = (await store.collection.get(conversation.id)) ?? { floor: { epoch: -1 } }
        if (floor.epoch !== turn.epoch) stop()
      },
      (error) =>
        log.warn({ conversation: conversation.id, error: describeError(error) }, 'a turn could not see whether it is still wanted'),
    )
    try {
      const speaker = await speakerOf(conversation.tenant, turn.agent)
      if (speaker === undefined) return { status: 'failed', why: `nobody speaks for ${turn.agent}` }
      const question = conversation.questions.find(({ to }) => to === turn.participant) ?? null
      const aborted = new Promise<TurnResult>((resolve) => {
        abort.signal.addEventListener(
          'abort',
          () => resolve({ status: 'failed', why: 'it took longer than its lease, or was no longer wanted' }),
          { once: true },
        )
      })
      // An agent that does not listen to its signal cannot hold the turn: the timer races it.
      return await Promise.race([
        speaker.speak({ conversation, ...turn, question, signal: abort.signal, log, isAmongTop: amongTop(conversation, this.#options) }),
        aborted,
      ])
    } catch (error) {
      if (error instanceof InternalError) throw error
      log.warn({ conversation: conversation.id, agent: turn.agent, error: describeError(error) }, 'a turn failed')
      return { status: 'failed', why: describeError(error) }
    } finally {
      watch.cancel()
      deadline.cancel()
      this.#stop.signal.removeEventListener('abort', stop)
    }
  }

  #counted(before: ConversationDocument, after: ConversationDocument): ConversationDocument {
    if (before.state !== 'closed' && after.terminationReason !== null) this.#metrics.roundEnded(after.terminationReason)
    return after
  }
}

/** As it is written down: nothing where only the moderator has something to do. */
function waitingOf(due: Due, nowMs: number): WaitingDialogue[] {
  const { tenant, agent, conversation, since, lastInteraction } = due
  return agent === null ? [] : [{ tenant, agent, conversation, priority: score(due, nowMs), since, lastInteraction }]
}
