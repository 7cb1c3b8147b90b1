import { CircuitBreaker, type Passage } from '../../kernel/circuit-breaker.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import { tellSpan, type SpanSink } from '../../kernel/spans.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import { spanIdOf } from '../../kernel/trace-ids.ts'
import type { Allowances, Place, Reserved } from './allowance.ts'
import type { Brain, BrainFailed, BrainFailure, BrainOutcome, BrainReplied, BrainTask, ProviderKind, ThinkOptions } from './brain.ts'
import type { BrainMetrics } from './brain-metrics.ts'
import type { BrainsConfig } from './config.ts'
import { newExchange, type Exchange } from './exchange.ts'
import { verdictOf } from './exchange-verdict.ts'
import { promptFor, repairOf, tokensOf, type Prompt } from './prompt.ts'
import { raceAbort } from './race.ts'
import { readReply } from './reply-reader.ts'
import type { Standing } from './standing.ts'
import type { ModelAnswer, Wire } from './wire.ts'

/** One repair, then the local words stand: a model that did not do as it was told twice does not the third time either. */
const REPAIRS_MAX = 1
const RETRY_FACTOR = 2
const RETRY_JITTER = 0.2

export interface ProviderBrainOptions {
  kind: ProviderKind
  config: BrainsConfig
  wire: Wire
  allowances: Allowances
  standing: Standing
  metrics: BrainMetrics
  clock: Clock
  random: Random
  log: Logger
  spans?: SpanSink
}

/** What one request brought. */
type Attempt<R> =
  | { next: 'done'; outcome: BrainOutcome<R> }
  | { next: 'retry'; failed: BrainFailed; notBeforeMs: number | null }
  | { next: 'repair'; failed: BrainFailed; paths: readonly string[] }

/** A model as a brain: bounded in time, requests, tokens and size; one retry layer, here. */
export class ProviderBrain implements Brain {
  readonly kind: ProviderKind
  readonly #options: ProviderBrainOptions
  readonly #breaker: CircuitBreaker
  #inFlight = 0

  constructor(options: ProviderBrainOptions) {
    this.#options = options
    this.kind = options.kind
    const { clock, config, metrics, log, kind } = options
    metrics.breaker(kind, 'closed')
    this.#breaker = new CircuitBreaker({
      clock,
      failuresMax: config.breakerFailures,
      openMs: config.breakerOpenMs,
      onChange: (state) => {
        metrics.breaker(kind, state)
        log.warn({ event: 'breaker_changed', provider: kind, state }, 'the circuit breaker of a model changed')
      },
    })
  }

  get model(): string {
    return this.#options.config[this.kind].model
  }

  async think<R>(task: BrainTask<R>, options: ThinkOptions): Promise<BrainOutcome<R>> {
    const { config, metrics } = this.#options
    const outcome =
      this.#inFlight >= config.inFlightMax ? failed('rate-limited', 'too many turns at a time') : await this.#bounded(task, options)
    if (outcome.status === 'failed') metrics.failed(this.kind, outcome.failure)
    // Text that is not ours was about to be in a prompt: it is not sent, and the local words stand.
    if (outcome.status === 'failed' && outcome.failure === 'tainted') metrics.injectionFlagged(this.kind)
    return outcome
  }

  close(): Promise<void> {
    return this.#options.wire.close()
  }

  /** The hard timer races everything: models, libraries, stores. */
  async #bounded<R>(task: BrainTask<R>, { timeoutMs, signal }: ThinkOptions): Promise<BrainOutcome<R>> {
    const { clock, config, log } = this.#options
    const limitMs = Math.min(timeoutMs, config.turnTimeoutMs)
    const turn = new AbortController()
    const stop = (): void => turn.abort(new Error('stopped'))
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    const timer = clock.after(limitMs, () => turn.abort(new Error('timeout')))
    this.#inFlight++
    try {
      return await raceAbort(turn.signal, this.#turn(task, turn.signal, clock.monotonicMs() + limitMs))
    } catch (error) {
      if (turn.signal.aborted) return signal.aborted ? failed('unavailable', 'stopped') : failed('timeout', `no reply within ${limitMs} ms`)
      log.error({ event: 'turn_failed', provider: this.kind, error: describeError(error) }, 'a turn of a model failed on our side')
      return failed('unavailable', 'trouble of our own')
    } finally {
      this.#inFlight--
      timer.cancel()
      signal.removeEventListener('abort', stop)
      // Ends what is still under way.
      turn.abort(new Error('over'))
    }
  }

  async #turn<R>(task: BrainTask<R>, signal: AbortSignal, deadlineMs: number): Promise<BrainOutcome<R>> {
    const { standing, config, clock } = this.#options
    const off = await standing.off()
    if (off !== null) return failed(off.failure, `switched off: ${off.detail}`)
    const first = promptFor(task, config.promptBytesMax)
    if (first.status === 'tainted') return failed('tainted', `text that is not ours at ${first.where}`)
    if (first.status === 'too-large') return failed('too-large', `the prompt has ${first.sizeBytes} bytes`)
    let { prompt } = first
    let repairs = 0
    for (let requests = 1; ; requests++) {
      const attempt = await this.#attempt(task, prompt, signal)
      if (attempt.next === 'done') return attempt.outcome
      if (requests >= config.requestsMax) return attempt.failed
      if (attempt.next === 'repair') {
        const repaired = repairOf(first.prompt, attempt.paths, config.promptBytesMax)
        if (++repairs > REPAIRS_MAX || repaired.status !== 'written') return attempt.failed
        prompt = repaired.prompt
        continue
      }
      const waitMs = Math.max(this.#backoffMs(requests), attempt.notBeforeMs ?? 0)
      if (clock.monotonicMs() + waitMs >= deadlineMs) return attempt.failed
      await sleep(clock, waitMs, signal)
      signal.throwIfAborted()
    }
  }

  #backoffMs(retry: number): number {
    const { config, random } = this.#options
    const { retryInitialMs: initialMs, retryMaxMs: maxMs } = config
    return backoffDelayMs({ initialMs, maxMs, factor: RETRY_FACTOR, jitter: RETRY_JITTER }, retry, random)
  }

  /** One request, from what allows it to what it says. */
  async #attempt<R>(task: BrainTask<R>, prompt: Prompt, signal: AbortSignal): Promise<Attempt<R>> {
    const { allowances, config } = this.#options
    const passage = this.#breaker.enter()
    if (passage === null) return done(failed('circuit-open', 'it failed too often in a row', this.#breaker.opensInMs))
    try {
      const reserved = await allowances.reserve(this.kind, tokensOf(prompt) + config.maxTokens, placeOf(task))
      if (reserved.status !== 'reserved') return done(failed(reserved.status, 'our own limit', reserved.retryAfterMs))
      return await this.#request(task, prompt, signal, reserved, passage)
    } finally {
      passage.dropped()
    }
  }

  async #request<R>(
    task: BrainTask<R>,
    prompt: Prompt,
    signal: AbortSignal,
    reserved: Extract<Reserved, { status: 'reserved' }>,
    passage: Passage,
  ): Promise<Attempt<R>> {
    const { wire, clock, log, allowances, metrics } = this.#options
    const exchange = newExchange()
    const startMs = clock.monotonicMs()
    let answer: ModelAnswer | null = null
    try {
      answer = await raceAbort(signal, wire.ask({ prompt, schema: task.reply.schema, exchange, signal }))
    } catch (error) {
      if (signal.aborted) {
        // Nobody is to blame when we are stopped; when time ran out, the provider is.
        const isTimeout = signal.reason instanceof Error && signal.reason.message === 'timeout'
        if (isTimeout) passage.failed()
        this.#measure(task, 'timeout', startMs, null, exchange)
        throw error
      }
      log.debug({ event: 'api_call_error', provider: this.kind, error: (error as Error).name }, 'no answer could be read')
    }
    const attempt = answer === null ? await this.#unanswered<R>(exchange, passage) : this.#answered(task, prompt, answer, exchange, passage)
    this.#measure(task, statusOf(attempt, exchange), startMs, answer, exchange)
    const used = usedTokens(answer, exchange)
    if (used !== null) await allowances.settle(this.kind, reserved, used, placeOf(task))
    metrics.budget(this.kind, await allowances.left(this.kind))
    metrics.siteBudget(this.kind, placeOf(task).site, await allowances.leftOfSite(this.kind, placeOf(task)))
    return attempt
  }

  async #unanswered<R>(exchange: Exchange, passage: Passage): Promise<Attempt<R>> {
    const { standing, log } = this.#options
    const { failure, detail, isRetryable, retryAfterMs, isOff, works } = verdictOf(exchange)
    if (works === true) passage.succeeded()
    else if (works === false) passage.failed()
    const outcome = failed(failure, detail, retryAfterMs)
    if (isOff) {
      log.error(
        { event: 'provider_off', provider: this.kind, failure, status: exchange.status },
        'a model takes nothing from us and is switched off',
      )
      await standing.switchOff(failure, detail)
    }
    if (failure === 'malformed') return { next: 'repair', failed: outcome, paths: [] }
    return isRetryable ? { next: 'retry', failed: outcome, notBeforeMs: retryAfterMs } : done(outcome)
  }

  #answered<R>(task: BrainTask<R>, prompt: Prompt, answer: ModelAnswer, exchange: Exchange, passage: Passage): Attempt<R> {
    const malformed = (detail: string, paths: readonly string[] = []): Attempt<R> => ({
      next: 'repair',
      failed: failed('malformed', detail),
      paths,
    })
    if (answer.stop === null || exchange.isBroken) {
      passage.failed()
      return malformed('the response broke off')
    }
    // It works; whether it does as it is told is another matter, and the repair's.
    passage.succeeded()
    if (answer.stop === 'refused') return done(failed('refused', 'the model or its provider would not'))
    if (answer.stop === 'length') return malformed('it is longer than its bound of tokens')
    if (answer.stop === 'other') return malformed('it stopped for another reason than its end')
    const read = readReply(answer.content, task.reply)
    if (read.status === 'malformed') return malformed(read.detail, read.paths)
    const { inputTokens, outputTokens } = answer
    const replied: BrainReplied<R> = {
      ...{ status: 'replied', reply: read.reply, author: { kind: this.kind, model: this.model }, promptSha256: prompt.sha256 },
      ...{ inputTokens: inputTokens ?? 0, outputTokens: outputTokens ?? 0 },
    }
    return done(replied)
  }

  #measure(task: BrainTask<unknown>, status: string, startMs: number, answer: ModelAnswer | null, exchange: Exchange): void {
    const { clock, metrics, log, kind, spans } = this.#options
    const { requestId } = exchange
    const seconds = (clock.monotonicMs() - startMs) / 1_000
    const tokens = { inputTokens: answer?.inputTokens ?? 0, outputTokens: answer?.outputTokens ?? 0 }
    metrics.called({ provider: kind, model: this.model, status, seconds, ...tokens })
    const event = status === 'ok' ? 'api_call_success' : 'api_call_failure'
    const { conversation, correlationId, parentSpanId, agent, turn } = task
    const ofTurn = turn === undefined ? {} : { turn }
    log.info(
      {
        event,
        conversation,
        correlationId,
        agent,
        ...ofTurn,
        provider: kind,
        model: this.model,
        status,
        latencyMs: Math.round(seconds * 1_000),
        ...tokens,
        requestId,
      },
      'asked a model',
    )
    const endedAt = clock.nowMs()
    const spanId = spanIdOf('call', parentSpanId, endedAt)
    const common = { correlationId, startedAt: endedAt - Math.round(seconds * 1_000), endedAt }
    const call = {
      ...{ 'agent.provider': kind, 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': kind, 'gen_ai.request.model': this.model },
      ...{ 'gen_ai.usage.input_tokens': tokens.inputTokens, 'gen_ai.usage.output_tokens': tokens.outputTokens, status },
      'gen_ai.conversation.id': conversation,
      ...(status === 'ok' ? {} : { 'error.type': status }),
    }
    tellSpan(log, { ...common, name: 'agent.call_api', spanId, parentSpanId, attributes: call }, spans)
    if (exchange.requests === 0) return
    const http = {
      ...{ 'http.request.method': 'POST', 'http.response.body.size': exchange.responseBytes },
      ...(exchange.status === null ? {} : { 'http.response.status_code': exchange.status }),
    }
    tellSpan(log, { ...common, name: 'http.post', spanId: spanIdOf('http', spanId), parentSpanId: spanId, attributes: http }, spans)
  }
}

function placeOf({ tenant, site = '' }: BrainTask<unknown>): Place {
  return { tenant, site }
}

function failed(failure: BrainFailure, detail: string, retryAfterMs: number | null = null): BrainFailed {
  return { status: 'failed', failure, detail, retryAfterMs }
}

function done<R>(outcome: BrainOutcome<R>): Attempt<R> {
  return { next: 'done', outcome }
}

function statusOf(attempt: Attempt<unknown>, { status }: Exchange): string {
  if (attempt.next === 'done' && attempt.outcome.status === 'replied') return 'ok'
  if (attempt.next === 'repair') return 'malformed'
  if (status === null) return 'network'
  return status >= 200 && status < 300 ? 'refused' : String(status)
}

/** What is known to have been used; null: nobody said, so the reservation stands. An error of the provider's costs nothing. */
function usedTokens(answer: ModelAnswer | null, { status }: Exchange): number | null {
  if (answer?.inputTokens !== null && answer?.inputTokens !== undefined) return answer.inputTokens + (answer.outputTokens ?? 0)
  return status !== null && status >= 400 ? 0 : null
}
