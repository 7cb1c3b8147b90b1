import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import type { TerminationReason } from '../../contracts/conversation.ts'

/** From the beginning of a round to its digest, in seconds: local ones take a second at most, those of models up to their bound. */
const SUMMARY_BUCKETS_S = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120] as const
const BUILT_IN = new Set(['triage', 'diagnostics', 'historian', 'reporter', 'dispatcher', 'watchdog'])

/** What is counted of turns and conversations. Labels are bounded, whatever agents people introduce. */
export class TurnMetrics {
  readonly #turns
  readonly #waits
  readonly #firstTurns
  readonly #ends
  readonly #active
  readonly #summaries

  constructor(metrics: Metrics) {
    this.#turns = metrics.counter('agents_turns_total', 'Turns of agents, by how they ended', ['agent', 'end'] as const)
    this.#waits = metrics.histogram('ai_floor_wait_seconds', 'From a request for the floor to its grant', LATENCY_BUCKETS_S)
    this.#firstTurns = metrics.histogram(
      'ai_first_turn_seconds',
      'From an incident that was taken from the log to the first turn of an agent about it',
      LATENCY_BUCKETS_S,
    )
    this.#ends = metrics.counter('ai_terminations_total', 'Rounds of conversations that ended here, by reason', ['reason'] as const)
    this.#active = metrics.gauge('ai_conversations_active', 'Conversations that are not closed, of all processes, as of the last sweep')
    this.#summaries = metrics.histogram(
      'ai_summary_seconds',
      'From the beginning of a round to a digest of it, by who worded it',
      SUMMARY_BUCKETS_S,
      ['kind'] as const,
    )
  }

  turnEnded(agent: string, end: string): void {
    this.#turns.inc({ agent: BUILT_IN.has(agent) ? agent : 'other', end })
  }
  waited(ms: number): void {
    this.#waits.observe(Math.max(0, ms) / 1_000)
  }
  began(ms: number): void {
    this.#firstTurns.observe(Math.max(0, ms) / 1_000)
  }
  roundEnded(reason: TerminationReason): void {
    this.#ends.inc({ reason })
  }
  active(conversations: number): void {
    this.#active.set(conversations)
  }
  published(kind: 'local' | 'llm', ms: number): void {
    this.#summaries.observe({ kind }, Math.max(0, ms) / 1_000)
  }
}
