import type { Logger } from '../../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import type { WebhooksConfig } from './config.ts'
import { parked } from './delivery.ts'
import { kindOf, validSecrets, type DeliveryDocument, type StoredDelivery, type StoredEndpoint } from './webhook-documents.ts'
import type { DeliveryAttempt, SentAttempt } from '../notifiers/notifier.ts'
import type { Notifiers } from '../notifiers/notifiers.ts'
import type { WebhookStore } from './webhook-store.ts'

/** A claim outlives the longest try by this, so that nobody takes over a try that is merely slow to be written down. */
const CLAIM_MARGIN_MS = 10_000

/** While a try is under way, `nextAttemptAt` holds this: then somebody else may take the delivery over. */
export function claimUntilMs(nowMs: number, config: WebhooksConfig): number {
  return nowMs + config.totalTimeoutMs + CLAIM_MARGIN_MS
}

/**
 * What a try says about its endpoint: whether it works, and whether this was the one try after it had been left alone; `skipped` says
 * nothing; `rests`: it is left alone until then.
 */
export type AttemptVerdict = { says: 'works' | 'fails'; onTrial: boolean } | { says: 'skipped' } | { says: 'rests'; until: number }
const SKIPPED: AttemptVerdict = { says: 'skipped' }

export interface DeliveryAttemptsOptions {
  store: WebhookStore
  notifiers: Notifiers
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
    const { store, clock, config, notifiers } = this.#options
    const endpoint = await store.endpoints.get(read.endpointId)
    if (endpoint === null) {
      await store.deliveries.delete(read._id)
      return SKIPPED
    }
    if (!endpoint.enabled) {
      await this.#write(read, parked('endpoint-disabled', clock.nowMs()))
      return SKIPPED
    }
    const nowMs = clock.nowMs()
    if ((endpoint.restsUntil ?? 0) > nowMs) {
      const restsUntil = endpoint.restsUntil as number
      await this.#write(read, { nextAttemptAt: restsUntil })
      return { says: 'rests', until: restsUntil }
    }
    const delivery = claimed ? read : await store.updateDelivery(read, { nextAttemptAt: claimUntilMs(nowMs, config) })
    if (delivery === null) return SKIPPED
    if (read.attemptsMade === 0) this.#firstAttempt.observe((nowMs - read.createdAt) / 1_000)
    const outgoing = { id: read.id, url: endpoint.url, body: read.body, secrets: validSecrets(endpoint, nowMs), nowMs, signal }
    const sent = await notifiers.of(kindOf(endpoint)).send(outgoing)
    if (signal.aborted && sent.status === null) {
      // Stopped by us: not the endpoint's fault, so the try does not count.
      await this.#write(delivery, { nextAttemptAt: clock.nowMs() })
      return SKIPPED
    }
    return this.#settle(delivery, endpoint, sent)
  }

  /** Leaves an endpoint alone until then (null: no longer), for this process and the others, through restarts. */
  async rest(endpointId: string, restsUntil: number | null): Promise<void> {
    const { store, log } = this.#options
    await store.endpoints.update(endpointId, { $set: { restsUntil } })
    if (restsUntil !== null)
      log.warn({ endpoint: endpointId, restsUntil }, 'endpoint failed too often in a row and is left alone for a while')
  }

  async #settle(delivery: StoredDelivery, endpoint: StoredEndpoint, sent: SentAttempt): Promise<AttemptVerdict> {
    const { clock, config } = this.#options
    const { refused, retryAfterMs, ...attempt } = sent
    const nowMs = clock.nowMs()
    const attempts: DeliveryAttempt[] = [attempt, ...delivery.attempts].slice(0, config.attemptsKeptMax)
    const made = { attempts, attemptsMade: delivery.attemptsMade + 1, updatedAt: nowMs }
    const onTrial = (endpoint.restsUntil ?? null) !== null
    const delivered = sent.status !== null && sent.status >= 200 && sent.status < 300
    this.#attempts.inc({ outcome: delivered ? 'delivered' : refused ? 'refused' : sent.status === null ? 'error' : 'status' })
    this.#duration.observe(sent.durationMs / 1_000)
    if (delivered) {
      await this.#write(delivery, { ...made, state: 'delivered', nextAttemptAt: null })
      return { says: 'works', onTrial }
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
    return { says: 'fails', onTrial }
  }

  #delayMs(attempt: number, retryAfterMs: number | null): number {
    const { config, random } = this.#options
    const backoff = { initialMs: config.retryInitialMs, maxMs: config.retryMaxMs, factor: config.retryFactor, jitter: config.retryJitter }
    return Math.ceil(Math.max(backoffDelayMs(backoff, attempt, random), Math.min(config.retryMaxMs, retryAfterMs ?? 0)))
  }

  /** 410 says that nobody will ever listen at this address again; another one that it was given meanwhile is not meant. */
  async #disable(tried: StoredEndpoint): Promise<void> {
    const { store, clock, log, config } = this.#options
    const change = { $set: { enabled: false, disabledReason: 'gone', updatedAt: clock.nowMs() } }
    for (let attempt = 1; attempt <= config.disableAttemptsMax; attempt++) {
      const endpoint = await store.endpoints.get(tried._id)
      if (endpoint === null || !endpoint.enabled || endpoint.url !== tried.url) return
      const result = await store.endpoints.update(endpoint._id, change, endpoint.version)
      if (result.status === 'written') return log.warn({ endpoint: endpoint.id }, 'webhook endpoint answered 410 and is disabled')
    }
    log.error({ endpoint: tried.id }, 'webhook endpoint answered 410 and could not be disabled; the next such answer tries again')
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
