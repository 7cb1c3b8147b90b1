import type { AuditTrail } from '../../contracts/audit.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import type { Service } from '../../kernel/service.ts'
import { Sweeper } from '../../kernel/sweeper.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { BusKey } from '../bus/bus-key.ts'
import { DeprecatedUse } from '../bus/deprecated-use.ts'
import { DEPRECATIONS, type Deprecations } from '../bus/deprecations.ts'
import { EachOnce } from '../bus/each-once.ts'
import type { BusEvent } from '../bus/envelope.ts'
import { EventIntake, eventsCounter } from '../bus/event-intake.ts'
import type { AgentsConfig } from '../config.ts'
import { DeadLetters } from './dead-letters.ts'
import { Journal } from './journal.ts'

const SWEEP_INTERVAL_MS = 600_000

/** Who writes the journal, a group for each topic: what is told there is read once, whichever process reads it. */
export const JOURNAL_GROUPS = [
  { group: 'journal-lifecycle', topic: TOPICS.agentLifecycle },
  { group: 'journal-chat-events', topic: TOPICS.chatEvents },
  { group: 'journal-status', topic: TOPICS.agentStatus },
  { group: 'journal-messages', topic: TOPICS.agentMessages },
  { group: 'journal-digests', topic: TOPICS.digests },
] as const
/** Who does what the coming and going of agents asks for. */
const REACTIONS = { group: 'agent-reactions', topic: TOPICS.agentLifecycle } as const

export interface EventsOptions {
  documents: Documents
  eventLog: EventLog
  key: BusKey
  auditTrail: AuditTrail
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AgentsConfig
  /** What is done about an event of an agent's life. See EachOnce. */
  react: (event: BusEvent) => Promise<void>
  /** Versions that are to go; `DEPRECATIONS` unless told otherwise. */
  deprecations?: Deprecations
  /** False where the journal is only read: consuming is another process's. */
  works: boolean
}

/** The consumers of the agents' bus, and what they keep. */
export class Events implements Service {
  readonly name = 'agent-events'
  readonly journal: Journal
  readonly deadLetters: DeadLetters
  readonly #parts: Service[]
  readonly #intakes: EventIntake[] = []
  readonly #sweeper: Sweeper | undefined

  constructor(options: EventsOptions) {
    const { works, auditTrail: trail, react: effect } = options
    this.journal = new Journal(options)
    const reactions = new EachOnce({ ...options, group: REACTIONS.group, effect })
    this.#parts = [this.journal, reactions]
    const isTaken = (group: string, event: BusEvent): Promise<boolean> =>
      group === REACTIONS.group ? reactions.holds(event) : this.journal.holds(event)
    this.deadLetters = new DeadLetters({ ...options, isTaken })
    if (!works) return
    const { deprecations = DEPRECATIONS } = options
    const deprecatedUse = new DeprecatedUse({ ...options, deprecations })
    const common = { ...options, counter: eventsCounter(options.metrics), deprecations, deprecatedUse }
    this.#intakes = [
      ...JOURNAL_GROUPS.map((of) => new EventIntake({ ...common, ...of, taker: this.journal, trail })),
      new EventIntake({ ...common, ...REACTIONS, taker: reactions }),
    ]
    const sweep = async (): Promise<void> => {
      await this.journal.sweep()
      await reactions.sweep()
    }
    this.#sweeper = new Sweeper({
      what: 'the journal of agents',
      intervalMs: SWEEP_INTERVAL_MS,
      sweep,
      clock: options.clock,
      log: options.log,
    })
  }

  async start(): Promise<void> {
    for (const part of this.#parts) await part.start()
    await Promise.all(this.#intakes.map((intake) => intake.start()))
    this.#sweeper?.start()
  }

  async stop(): Promise<void> {
    await this.#sweeper?.stop()
    await Promise.all(this.#intakes.map((intake) => intake.stop()))
    for (const part of this.#parts.toReversed()) await part.stop()
  }
}
