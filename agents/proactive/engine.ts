import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { Sweeper } from '../../kernel/sweeper.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { isAgent } from '../conversation/conversation-document.ts'
import type { ConversationStore } from '../conversation/conversation-store.ts'
import { end, open, type Opening } from '../conversation/lifecycle.ts'
import type { Limits } from '../conversation/moderation.ts'
import type { Roster } from '../roster/roster.ts'
import type { Turn, TurnResult } from '../turns/speaker.ts'
import { CONDITION_KINDS } from './condition.ts'
import type { ProactiveConfig } from './config.ts'
import type { DomainFacts } from './domain-facts.ts'
import type { FiringDocument } from './firing.ts'
import type { Firings } from './firings.ts'
import { Lease } from './lease.ts'
import { matchesOf } from './patterns.ts'
import { proactiveWords } from './proactive-words.ts'
import type { ProactiveRule } from './rule.ts'
import type { ProactiveRules } from './rules-service.ts'

/** Firings begun anew after a crash, per look. */
const PENDING_MAX = 100
/** Who looks for patterns, and says so. */
const SPEAKER = 'agent:triage'

export interface ProactiveOptions {
  documents: Documents
  facts: DomainFacts
  rules: ProactiveRules
  firings: Firings
  store: ConversationStore
  roster: Roster
  limits: Limits
  clock: Clock
  log: Logger
  metrics: Metrics
  config: ProactiveConfig
  processId: string
}

/**
 * Looks for patterns across the fleet, and begins a conversation where there is one: it never acts. A look is made anew from what is stored, so
 * any process can make it; one holds the lease. A pattern that was there before begins nothing.
 */
export class ProactiveEngine implements Service {
  readonly name = 'proactive-engine'
  readonly #options: ProactiveOptions
  readonly #sweeper: Sweeper
  readonly #lease: Lease
  readonly #firings
  #stop = new AbortController()
  #trendsAtMs = -Infinity
  #isRunning = false

  constructor(options: ProactiveOptions) {
    this.#options = options
    const { clock, log, config, documents, metrics, processId: holder } = options
    this.#sweeper = new Sweeper({ what: 'patterns', intervalMs: config.lookMs, clock, log, sweep: () => this.look() })
    this.#lease = new Lease({ documents, clock, id: 'proactive', holder, leaseMs: config.leaseMs })
    this.#firings = metrics.counter('agents_proactive_firings_total', 'Actions that agents began by themselves, by pattern', [
      'kind',
    ] as const)
    for (const kind of CONDITION_KINDS) this.#firings.inc({ kind }, 0)
  }

  async start(): Promise<void> {
    if (this.#isRunning || !this.#options.config.enabled) return
    this.#isRunning = true
    this.#stop = new AbortController()
    this.#sweeper.start()
  }

  async stop(): Promise<void> {
    const { log } = this.#options
    if (!this.#isRunning) return
    this.#isRunning = false
    this.#stop.abort()
    await this.#sweeper.stop()
    await this.#lease
      .release()
      .catch((error: unknown) => log.warn({ error: describeError(error) }, 'a lease is not given back; it runs out'))
  }

  /** One look at everything, where this process is the one that looks. */
  async look(): Promise<void> {
    const { facts, rules, firings, clock, config } = this.#options
    if (!(await this.#lease.hold())) return
    for (const firing of await firings.pending(PENDING_MAX)) await this.#begin(firing)
    const withTrends = clock.monotonicMs() - this.#trendsAtMs >= config.trendLookMs
    if (withTrends) this.#trendsAtMs = clock.monotonicMs()
    for (const tenant of await facts.tenants()) {
      const wanted = (await rules.list(tenant)).filter(({ enabled, when }) => enabled && (withTrends || when.kind !== 'drift'))
      const looked: string[] = []
      for (const rule of wanted) if (await this.#apply(tenant, rule)) looked.push(rule.id)
      for (const over of await firings.settle(tenant, looked)) await this.#over(over)
    }
  }

  /** False: it could not be seen, so nothing is over either. */
  async #apply(tenant: string, rule: ProactiveRule): Promise<boolean> {
    const { facts, firings, clock, config, log } = this.#options
    const signal = this.#stop.signal
    try {
      for (const match of await matchesOf(rule.when, tenant, { facts, clock, limits: config, signal })) {
        if (signal.aborted || !(await this.#lease.hold())) return false
        const fired = await firings.see(tenant, rule, match)
        if (fired === 'too-many') {
          log.warn({ tenant, rule: rule.id, limit: config.firingsPerHourMax }, 'patterns wait: agents have begun enough within this hour')
          return false
        }
        if (fired === null) continue
        this.#firings.inc({ kind: rule.when.kind })
        await this.#begin(fired)
      }
      return !signal.aborted
    } catch (error) {
      log.warn({ tenant, rule: rule.id, error: describeError(error) }, 'a pattern could not be looked for; the next look tries again')
      return false
    }
  }

  /** Begins the conversation; one that is there already was begun before a crash. */
  async #begin({ id, tenant, conversation, title, severity, deviceCount }: FiringDocument): Promise<void> {
    const { store, roster, clock, limits, firings, log } = this.#options
    await roster.ensureTeam(tenant)
    const opening: Opening = {
      ...{ id: conversation, tenant, chatType: 'group', mode: 'addressed', title, createdBy: SPEAKER, correlationId: id },
      participants: [SPEAKER, 'agent:dispatcher'].map((agent) => ({ id: agent, role: 'member' })),
      plan: [SPEAKER],
    }
    const opened = open({ ...opening }, clock.nowMs(), limits)
    await store.insert(conversation, { ...opened, severity, deviceCount })
    await firings.begun(id)
    log.info({ tenant, conversation, firing: id }, 'an agent began a conversation by itself')
  }

  /** Nobody need talk about it any more, unless people do. */
  async #over({ tenant, conversation }: FiringDocument): Promise<void> {
    const { store, clock, limits } = this.#options
    if ((await store.collection.get(conversation)) === null) return
    await store.change({ id: conversation, tenant }, (document) => {
      const people = document.participants.some(({ id, leftAt }) => leftAt === null && !isAgent(id))
      return people || document.state === 'closed' ? document : end(document, 'goal_met', clock.nowMs(), limits)
    })
  }

  /** What is said in a conversation that was begun here; null: it is another's. */
  async speak({ conversation, question }: Turn): Promise<TurnResult | null> {
    if (conversation.incidentId !== null) return null
    const firing = await this.#options.firings.ofConversation(conversation.tenant, conversation.id)
    if (firing === null) return null
    return {
      status: 'said',
      words: {
        ...{ to: question?.from ?? null, kind: question === null ? 'finding' : 'answer', content: proactiveWords(firing) },
        ...{ isPrivate: question?.isPrivate ?? false, author: { kind: 'local', provider: null, model: null } },
        ...{ claims: [], evidence: firing.evidence, causes: [], control: null },
      },
    }
  }
}
