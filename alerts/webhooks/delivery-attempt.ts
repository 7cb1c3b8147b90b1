import type { Logger } from '../../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import type { WebhooksConfig } from './config.ts'
import { parked } from './delivery.ts'
import { validSecrets, type DeliveryAttempt, type DeliveryDocument, type StoredDelivery, type StoredEndpoint } from './webhook-documents.ts'
import type { SentAttempt, WebhookSender } from './webhook-sender.ts'
import { signatureHeaders } from '../../kernel/webhook-signature.ts'
import type { WebhookStore } from './webhook-store.ts'

/** A claim outlives the longest try by this, so that nobody takes over a try that is merely slow to be written down. */
const CLAIM_MARGIN_MS = 10_000

/** While a try is under way, `nextAttemptAt` holds this: then somebody else may take the delivery over. */
export function claimUntilMs(nowMs: number, config: WebhooksConfig): number {
  return nowMs + config.totalTimeoutMs + CLAIM_MARGIN_MS
}

/** What a try says about its endpoint: whether it works; `skipped` says nothing. */
export type AttemptVerdict = 'works' | 'fails' | 'skipped'

export interface DeliveryAttemptsOptions {
  store: WebhookStore
  sender: WebhookSender
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: WebhooksConfig
}

/**
 * One try of one delivery, from claim to outcome. The claim is a later `nextAttemptAt` written against the version that was read: of
 * several processes one sends, and if that one dies, another does when the claim runs out.
 */
export class DeliveryAttempts {
  readonly #options: DeliveryAttemptsOptions
  readonly #attempts
  readonly #parked
  readonly #duration
  readonly #firstAttempt

  constructor(options: DeliveryAttemptsOptions) {
    this.#options = options
    const { metrics } = options
    this.#attempts = metrics.counter('alerts_webhook_attempts_total', 'Tries of deliveries', ['outcome'] as const)
    this.#parked = metrics.counter('alerts_webhook_deliveries_parked_total', 'Deliveries parked', ['reason'] as const)
    this.#duration = metrics.histogram('alerts_webhook_attempt_seconds', 'Length of one try', LATENCY_BUCKETS_S)
    this.#firstAttempt = metrics.histogram('alerts_webhook_first_attempt_seconds', 'From the outbox to the first try', LATENCY_BUCKETS_S)
  }

  /** `claimed`: the delivery was written with a claim of ours in the first place. */
  async run(read: StoredDelivery, { claimed, signal }: { claimed: boolean; signal: AbortSignal }): Promise<AttemptVerdict> {
    const { store, clock, config, sender } = this.#options
    const endpoint = await store.endpoints.get(read.endpointId)
    if (endpoint === null) {
      await store.deliveries.delete(read._id)
      return 'skipped'
    }
    if (!endpoint.enabled) {
      await this.#write(read, parked('endpoint-disabled', clock.nowMs()))
      return 'skipped'
    }
    const nowMs = clock.nowMs()
    const delivery = claimed ? read : await store.updateDelivery(read, { nextAttemptAt: claimUntilMs(nowMs, config) })
    if (delivery === null) return 'skipped'
    if (read.attemptsMade === 0) this.#firstAttempt.observe((nowMs - read.createdAt) / 1_000)
    const headers = signatureHeaders({ id: read.id, nowMs, body: read.body, secrets: validSecrets(endpoint, nowMs) })
    const sent = await sender.send({ url: endpoint.url, body: read.body, headers, signal })
    if (signal.aborted && sent.status === null) {
      // Stopped by us: not the endpoint's fault, so the try does not count.
      await this.#write(delivery, { nextAttemptAt: clock.nowMs() })
      return 'skipped'
    }
    return this.#settle(delivery, endpoint, sent)
  }

  async #settle(delivery: StoredDelivery, endpoint: StoredEndpoint, sent: SentAttempt): Promise<AttemptVerdict> {
    const { clock, config } = this.#options
    const { refused, retryAfterMs, ...attempt } = sent
    const nowMs = clock.nowMs()
    const attempts: DeliveryAttempt[] = [attempt, ...delivery.attempts].slice(0, config.attemptsKeptMax)
    const made = { attempts, attemptsMade: delivery.attemptsMade + 1, updatedAt: nowMs }
    const delivered = sent.status !== null && sent.status >= 200 && sent.status < 300
    this.#attempts.inc({ outcome: delivered ? 'delivered' : refused ? 'refused' : sent.status === null ? 'error' : 'status' })
    this.#duration.observe(sent.durationMs / 1_000)
    if (delivered) {
      await this.#write(delivery, { ...made, state: 'delivered', nextAttemptAt: null })
      return 'works'
    }
    if (sent.status === 410) {
      await this.#disable(endpoint)
      await this.#write(delivery, { ...made, ...parked('endpoint-gone', nowMs) })
    } else if (refused) {
      await this.#write(delivery, { ...made, ...parked('target-refused', nowMs) })
    } else if (made.attemptsMade >= delivery.attemptsMax) {
      await this.#write(delivery, { ...made, ...parked('attempts-exhausted', nowMs) })
    } else {
      await this.#write(delivery, { ...made, nextAttemptAt: nowMs + this.#delayMs(made.attemptsMade, retryAfterMs) })
    }
    return 'fails'
  }

  #delayMs(attempt: number, retryAfterMs: number | null): number {
    const { config, random } = this.#options
    const backoff = { initialMs: config.retryInitialMs, maxMs: config.retryMaxMs, factor: config.retryFactor, jitter: config.retryJitter }
    return Math.ceil(Math.max(backoffDelayMs(backoff, attempt, random), Math.min(config.retryMaxMs, retryAfterMs ?? 0)))
  }

  /** 410 says that nobody will ever listen there again. */
  async #disable(endpoint: StoredEndpoint): Promise<void> {
    const { store, clock, log } = this.#options
    const change = { $set: { enabled: false, disabledReason: 'gone', updatedAt: clock.nowMs() } }
    const result = await store.endpoints.update(endpoint._id, change, endpoint.version)
    if (result.status === 'written') log.warn({ endpoint: endpoint.id }, 'webhook endpoint answered 410 and is disabled')
  }

  async #write(delivery: StoredDelivery, changes: Partial<DeliveryDocument>): Promise<void> {
    const { store, log } = this.#options
    if (changes.parkReason !== undefined && changes.parkReason !== null) {
      this.#parked.inc({ reason: changes.parkReason })
      log.warn({ delivery: delivery.id, reason: changes.parkReason, correlationId: delivery.correlationId }, 'webhook delivery parked')
    }
    if ((await store.updateDelivery(delivery, changes)) === null) {
      log.warn({ delivery: delivery.id }, 'webhook delivery changed while it was tried; what was written meanwhile stands')
    }
  }
}
