import type { Gauge } from 'prom-client'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { RotationConfig } from './config.ts'
import { datesOf } from './rotation-plan.ts'
import { RotationStore } from './rotation-store.ts'

export interface ExpiryForecastOptions {
  documents: Documents
  config: RotationConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  /** False where it is only asked: another process counts for the metrics. */
  works?: boolean
}

/** Certificates by the time they have left. `ended` are over and were not renewed; the others end within so long, and not within the one before. */
export const EXPIRY_BUCKETS = ['ended', '1d', '7d', '30d', '90d', 'later'] as const
export type ExpiryBucket = (typeof EXPIRY_BUCKETS)[number]

/** A certificate that waits for its successor; times in epoch ms. */
export interface Expiry {
  device: string
  serial: string
  notAfter: number
  /** `watched`: not due yet; `due`; `late`: operators were told; `ended`. */
  stage: string
  renewAt: number
  lateAt: number
}

export interface Forecast {
  at: number
  counts: Record<ExpiryBucket, number>
  /** Told to renew and not late yet, and those about which operators were alerted. */
  due: number
  late: number
  /** Those that end first. */
  soonest: Expiry[]
}

const DAY_MS = 86_400_000
/** Ends of the buckets, in ms from now. */
const UNTIL_MS: Record<ExpiryBucket, number> = {
  ended: 0,
  '1d': DAY_MS,
  '7d': 7 * DAY_MS,
  '30d': 30 * DAY_MS,
  '90d': 90 * DAY_MS,
  later: Number.MAX_SAFE_INTEGER,
}

/** How many certificates end when, of a tenant for people and of all for the metrics. Those that were renewed or revoked do not count. */
export class ExpiryForecast implements Service {
  readonly name = 'expiry-forecast'
  readonly #options: ExpiryForecastOptions
  readonly #store: RotationStore
  readonly #expiring: Gauge<'within'> | undefined
  readonly #late: Gauge | undefined
  #timer: Timer | undefined
  #counting: Promise<void> = Promise.resolve()

  constructor(options: ExpiryForecastOptions) {
    this.#options = options
    this.#store = new RotationStore(options.documents)
    if (options.works === false) return
    const { metrics } = options
    this.#expiring = metrics.gauge(
      'provisioning_expiring_certificates',
      'Device certificates without a successor, by the time they have left: over, up to a day, a week, 30 days, 90 days, longer',
      ['within'],
    )
    this.#late = metrics.gauge('provisioning_late_certificates', 'Device certificates that were not renewed in time, alerts being open')
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { clock, config, log } = this.#options
    await this.#store.open()
    if (this.#expiring === undefined) return
    const onError = (error: unknown): void => log.warn({ error: describeError(error) }, 'certificates could not be counted by expiry')
    const count = (): Promise<void> => (this.#counting = this.#measure())
    await count().catch(onError)
    this.#timer = every(clock, config.forecastIntervalMs, count, onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#counting])
    this.#store.close()
  }

  /** `limit`: how many of those that end first, at least 1. */
  async of(tenant: string, limit: number): Promise<Forecast> {
    const { clock, config } = this.#options
    const at = clock.nowMs()
    const [counts, due, late, ended, soonest] = await Promise.all([
      this.#count(tenant, at),
      this.#store.countInStage(tenant, 'due'),
      this.#store.countInStage(tenant, 'late'),
      this.#store.countInStage(tenant, 'ended'),
      this.#store.soonest(tenant, limit),
    ])
    const expiries = soonest.map((record) => {
      const { renewAt, lateAt } = datesOf(record, config)
      return { device: record.device, serial: record.serial, notAfter: record.notAfter, stage: record.rotation.stage, renewAt, lateAt }
    })
    return { at, counts, due, late: late + ended, soonest: expiries }
  }

  async #count(tenant: string | undefined, nowMs: number): Promise<Record<ExpiryBucket, number>> {
    let fromMs = 0
    const counts: Partial<Record<ExpiryBucket, number>> = {}
    for (const bucket of EXPIRY_BUCKETS) {
      const untilMs = bucket === 'later' ? Number.MAX_SAFE_INTEGER : nowMs + UNTIL_MS[bucket]
      counts[bucket] = await this.#store.countEnding(tenant, fromMs, untilMs)
      fromMs = untilMs
    }
    return counts as Record<ExpiryBucket, number>
  }

  async #measure(): Promise<void> {
    const counts = await this.#count(undefined, this.#options.clock.nowMs())
    for (const bucket of EXPIRY_BUCKETS) this.#expiring?.set({ within: bucket }, counts[bucket])
    const alarmed = await Promise.all((['late', 'ended'] as const).map((stage) => this.#store.countInStage(undefined, stage)))
    this.#late?.set(alarmed.reduce((sum, each) => sum + each, 0))
  }
}
