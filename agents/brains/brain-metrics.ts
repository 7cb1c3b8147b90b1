import type { BreakerState } from '../../kernel/circuit-breaker.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { BrainFailure, BrainKind, ProviderKind } from './brain.ts'

/** Buckets in seconds of one call. */
const CALL_BUCKETS_S = [0.1, 0.5, 1, 2, 5, 10, 30, 60] as const
const STATES: Readonly<Record<BreakerState, number>> = { closed: 0, 'half-open': 1, open: 2 }

/** Sites that have a series of their own; of more, the rest is one. */
const SITES_MAX = 100

/** How one call of a model went: its HTTP status, or why there was none. */
export interface CallMeasured {
  provider: ProviderKind
  model: string
  /** HTTP status; `ok` when a reply came of it, `malformed` when none could be read, `timeout`, `network`. */
  status: string
  seconds: number
  inputTokens: number
  outputTokens: number
}

/** What is counted of models. Labels are bounded: kinds, configured models, statuses, failures. */
export class BrainMetrics {
  readonly #calls
  readonly #seconds
  readonly #tokens
  readonly #errors
  readonly #fallbacks
  readonly #breaker
  readonly #budget
  readonly #siteBudget
  readonly #injections
  readonly #sites = new Set<string>()

  constructor(metrics: Metrics) {
    this.#calls = metrics.counter('ai_api_calls_total', 'Requests to models', ['provider', 'model', 'status'] as const)
    this.#seconds = metrics.histogram('ai_response_seconds', 'Length of one request to a model', CALL_BUCKETS_S, [
      'provider',
      'model',
    ] as const)
    this.#tokens = metrics.counter('ai_tokens_total', 'Tokens as providers counted them', ['provider', 'model', 'type'] as const)
    this.#errors = metrics.counter('ai_errors_total', 'Turns of models that brought no reply', ['provider', 'type'] as const)
    this.#fallbacks = metrics.counter('ai_fallback_total', 'Turns in which other words than the model’s stood', [
      'from',
      'to',
      'reason',
    ] as const)
    this.#breaker = metrics.gauge('ai_breaker_state', 'Circuit breaker of this process: 0 closed, 1 half-open, 2 open', [
      'provider',
    ] as const)
    this.#budget = metrics.gauge('ai_budget_tokens_remaining', 'Tokens left today, of all processes, as of the last request', [
      'provider',
    ] as const)
    this.#siteBudget = metrics.gauge('ai_site_budget_tokens_remaining', 'Tokens left today for one site, as of its last request', [
      'provider',
      'site',
    ] as const)
    this.#injections = metrics.counter('ai_injection_flags_total', 'Prompts not sent because text that is not ours was in them', [
      'provider',
    ] as const)
  }

  injectionFlagged(provider: ProviderKind): void {
    this.#injections.inc({ provider })
  }
  siteBudget(provider: ProviderKind, site: string, tokens: number): void {
    if (this.#sites.size < SITES_MAX) this.#sites.add(site)
    this.#siteBudget.set({ provider, site: this.#sites.has(site) ? site : 'other' }, tokens)
  }
  called({ provider, model, status, seconds, inputTokens, outputTokens }: CallMeasured): void {
    this.#calls.inc({ provider, model, status })
    this.#seconds.observe({ provider, model }, seconds)
    this.#tokens.inc({ provider, model, type: 'input' }, inputTokens)
    this.#tokens.inc({ provider, model, type: 'output' }, outputTokens)
  }
  failed(provider: ProviderKind, type: BrainFailure): void {
    this.#errors.inc({ provider, type })
  }
  fellBack(from: BrainKind, to: BrainKind, reason: BrainFailure | 'unverified' | 'storm'): void {
    this.#fallbacks.inc({ from, to, reason })
  }
  breaker(provider: ProviderKind, state: BreakerState): void {
    this.#breaker.set({ provider }, STATES[state])
  }
  budget(provider: ProviderKind, tokens: number): void {
    this.#budget.set({ provider }, tokens)
  }
}
