import { Agent, request } from 'undici'
import { BoundedQueue } from '../../kernel/bounded-queue.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import type { Span, SpanSink } from '../../kernel/spans.ts'
import { Sweeper } from '../../kernel/sweeper.ts'
import type { Clock } from '../../kernel/time.ts'
import type { TelemetryConfig } from './config.ts'
import { exportRequest } from './otlp-shape.ts'

/** Answers that say: the same again, later (OTLP/HTTP, retryable response codes). */
const RETRYABLE = new Set([429, 502, 503, 504])

export interface OtlpExporterOptions {
  clock: Clock
  log: Logger
  metrics: Metrics
  config: TelemetryConfig
  /** Of this process. */
  processId: string
}

/**
 * Sends spans to an OpenTelemetry collector, as OTLP over HTTP in JSON. Nobody waits for it: what does not fit into its queue, or what the
 * collector refuses, is dropped and counted. Without an endpoint it does nothing and opens nothing.
 */
export class OtlpExporter implements SpanSink, Service {
  readonly name = 'span-exporter'
  readonly #options: OtlpExporterOptions
  readonly #url: string | null
  readonly #waiting: BoundedQueue<Span>
  readonly #sweeper: Sweeper
  readonly #spans
  /** What the collector could not take yet. */
  #batch: Span[] = []
  #agent: Agent | undefined

  constructor(options: OtlpExporterOptions) {
    this.#options = options
    const { clock, log, metrics, config } = options
    this.#url = config.otlpEndpoint === '' ? null : `${config.otlpEndpoint.replace(/\/+$/, '')}/v1/traces`
    this.#waiting = new BoundedQueue('spans that wait to be sent', config.spansMax)
    this.#spans = metrics.counter('platform_spans_total', 'Spans for the collector, by what became of them', ['result'] as const)
    this.#sweeper = new Sweeper({ what: 'spans', intervalMs: config.sendIntervalMs, clock, log, sweep: () => this.send() })
  }

  async start(): Promise<void> {
    if (this.#url === null || this.#agent !== undefined) return
    const { sendTimeoutMs } = this.#options.config
    this.#agent = new Agent({
      connections: 1,
      connect: { timeout: sendTimeoutMs },
      headersTimeout: sendTimeoutMs,
      bodyTimeout: sendTimeoutMs,
    })
    this.#sweeper.start()
  }

  /** Sends what waits, once and within `sendTimeoutMs`; what a collector does not take then is gone. */
  async stop(): Promise<void> {
    if (this.#agent === undefined) return
    await this.#sweeper.stop()
    await this.send()
    this.#dropped(this.#batch.splice(0).length + this.#waiting.length)
    while (this.#waiting.shift() !== undefined);
    await this.#agent.destroy()
    this.#agent = undefined
  }

  get isOpen(): boolean {
    return this.#url !== null
  }

  take(span: Span): void {
    if (this.#url === null) return
    if (this.#waiting.isFull) this.#dropped(1)
    else this.#waiting.push(span)
  }

  /** Everything that waits, batch by batch, until one is not taken. */
  async send(): Promise<void> {
    const { batchSpansMax } = this.#options.config
    for (;;) {
      while (this.#batch.length < batchSpansMax) {
        const span = this.#waiting.shift()
        if (span === undefined) break
        this.#batch.push(span)
      }
      if (this.#batch.length === 0) return
      const result = await this.#post(this.#batch)
      if (result === 'later') return
      const { length } = this.#batch.splice(0)
      if (result === 'taken') this.#spans.inc({ result: 'sent' }, length)
      else this.#dropped(length)
    }
  }

  async #post(spans: readonly Span[]): Promise<'taken' | 'refused' | 'later'> {
    const { clock, log, config, processId } = this.#options
    const { otlpHeaders, sendTimeoutMs } = config
    const abort = new AbortController()
    const timer = clock.after(sendTimeoutMs, () => abort.abort(new Error(`no answer within ${sendTimeoutMs} ms`)))
    try {
      const { statusCode, body } = await request(this.#url ?? '', {
        ...{ method: 'POST', signal: abort.signal, ...(this.#agent === undefined ? {} : { dispatcher: this.#agent }) },
        headers: { ...headersOf(otlpHeaders), 'content-type': 'application/json' },
        body: JSON.stringify(exportRequest(spans, { 'service.name': 'fleetpulse', 'service.instance.id': processId })),
      })
      await body.dump()
      if (statusCode >= 200 && statusCode < 300) return 'taken'
      log.warn({ status: statusCode, spans: spans.length }, 'the collector did not take spans')
      return RETRYABLE.has(statusCode) ? 'later' : 'refused'
    } catch (error) {
      log.warn({ error: describeError(error), spans: spans.length }, 'the collector was not reached')
      return 'later'
    } finally {
      timer.cancel()
    }
  }

  #dropped(count: number): void {
    if (count > 0) this.#spans.inc({ result: 'dropped' }, count)
  }
}

/** `name=value,name=value`, values percent-encoded where they must be (W3C Baggage, as OTEL_EXPORTER_OTLP_HEADERS is written). */
function headersOf(text: string): Record<string, string> {
  const pairs = text.split(',').flatMap((pair): [string, string][] => {
    const at = pair.indexOf('=')
    return at < 1 ? [] : [[pair.slice(0, at).trim().toLowerCase(), decoded(pair.slice(at + 1).trim())]]
  })
  return Object.fromEntries(pairs)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return text
    throw error
  }
}
