import type { Counter } from 'prom-client'
import { ANOMALY } from '../../contracts/anomaly.ts'
import { actorOf, authorise, type Principal } from '../../contracts/authorisation.ts'
import { DEVICE_ID_PATTERN } from '../../contracts/device.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { AccessError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Clock } from '../../kernel/time.ts'
import { TokenBuckets } from '../../kernel/token-buckets.ts'
import type { EventLog, LogMessage } from '../../storage/event-log/event-log.ts'
import type { AlertsConfig } from '../config.ts'
import { readAlertmanager } from './alertmanager.ts'
import { asAnomaly, type Subject } from './as-anomaly.ts'
import { readCloudEvent } from './cloud-event.ts'
import type { ReadAlert } from './external-alert.ts'

/** What became of one alert; `device`: whose it is, null where the registry knows no such device. */
export type ExternalResult =
  { status: 'accepted'; phase: 'raised' | 'cleared'; anomaly: string; device: string | null } | { status: 'refused'; problem: string }

export interface ExternalAlertsOptions {
  eventLog: EventLog
  clock: Clock
  metrics: Metrics
  config: Pick<AlertsConfig, 'externalDeviceLabel' | 'externalItemsMax' | 'externalRequestsPerMinute'>
  /** Null: there is no such device. */
  typeOf(tenant: string, device: string): Promise<string | null>
}

/** Callers whose pace is remembered at once. */
const CALLERS_MAX = 1_000

const deviceId = new RegExp(DEVICE_ID_PATTERN)

/** The door for alerts of other systems: read, made anomalies of cause `external`, and durable in the log before anybody is answered. */
export class ExternalAlerts {
  readonly #options: ExternalAlertsOptions
  readonly #paces: TokenBuckets
  readonly #counter: Counter<'format' | 'result'>

  constructor(options: ExternalAlertsOptions) {
    this.#options = options
    const { clock, metrics, config } = options
    const burstMax = config.externalRequestsPerMinute
    this.#paces = new TokenBuckets({ clock, ratePerS: burstMax / 60, burstMax, keysMax: CALLERS_MAX })
    this.#counter = metrics.counter('external_alerts_total', 'Alerts of other systems by format and what became of them', [
      'format',
      'result',
    ] as const)
  }

  /**
   * One result for each alert, in their order: a bad one harms only itself. Throws AccessError, LimitError (too many requests, or too many
   * alerts in one), and what the log throws: then nothing is promised, and the same again changes nothing that is there.
   */
  async alertmanager(principal: Principal, items: readonly unknown[], correlationId: string): Promise<ExternalResult[]> {
    this.#admit(principal)
    const { clock, config } = this.#options
    if (items.length > config.externalItemsMax) {
      throw new InvalidInputError(`alerts: ${items.length} are more than ${config.externalItemsMax} at a time`, {
        details: { field: 'alerts' },
        remedy: "Set max_alerts of Alertmanager's webhook, or alerts.externalItemsMax.",
      })
    }
    const nowMs = clock.nowMs()
    const read = items.map((item) => readAlertmanager(item, config.externalDeviceLabel, nowMs))
    return this.#tell('alertmanager', read, { tenant: principal.tenant, nowMs, correlationId })
  }

  /** One event; see `alertmanager`. */
  async cloudEvent(principal: Principal, event: unknown, correlationId: string): Promise<ExternalResult[]> {
    this.#admit(principal)
    const nowMs = this.#options.clock.nowMs()
    return this.#tell('cloud-event', [readCloudEvent(event, nowMs)], { tenant: principal.tenant, nowMs, correlationId })
  }

  #admit(principal: Principal): void {
    const { tenant } = principal
    if (!authorise(principal, 'write', { tenant, kind: 'external-alerts' })) {
      throw new AccessError('FORBIDDEN', 'telling of external alerts needs the right write:external-alerts')
    }
    const waitMs = this.#paces.take(`${tenant}/${actorOf(principal)}`)
    if (waitMs === 0) return
    throw new LimitError(`more than ${this.#options.config.externalRequestsPerMinute} requests a minute with external alerts`, {
      details: { retryAfterS: Math.ceil(waitMs / 1_000) },
      remedy: 'Wait, or let alerts come in groups.',
    })
  }

  async #tell(
    format: 'alertmanager' | 'cloud-event',
    read: readonly ReadAlert[],
    of: { tenant: string; nowMs: number; correlationId: string },
  ): Promise<ExternalResult[]> {
    const subjects = new Map<string, Subject | null>()
    const messages: LogMessage[] = []
    const results: ExternalResult[] = []
    for (const one of read) {
      if (one.status === 'refused') {
        results.push(one)
        continue
      }
      const { alert } = one
      const name = alert.device
      if (name !== null && !subjects.has(name)) subjects.set(name, await this.#subject(of.tenant, name))
      const subject = name === null ? null : (subjects.get(name) ?? null)
      const anomaly = asAnomaly(alert, subject, of)
      messages.push({ key: deviceKey(of.tenant, anomaly.device), schema: ANOMALY, value: Buffer.from(JSON.stringify(anomaly)) })
      results.push({ status: 'accepted', phase: alert.phase, anomaly: anomaly.id, device: subject?.device ?? null })
    }
    if (messages.length > 0) await this.#options.eventLog.append(TOPICS.anomalies, messages)
    for (const { status } of results) this.#counter.inc({ format, result: status })
    return results
  }

  async #subject(tenant: string, device: string): Promise<Subject | null> {
    const type = deviceId.test(device) ? await this.#options.typeOf(tenant, device) : null
    return type === null ? null : { device, type }
  }
}
