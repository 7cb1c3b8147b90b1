import type { Alert } from '../contracts/alert.ts'
import { GATEWAY_LABEL, type DeviceFacts } from '../contracts/device-facts.ts'
import type { Clock } from '../kernel/time.ts'
import type { Surroundings } from './alert-lifecycle.ts'
import type { AlertStore } from './alert-store.ts'
import type { MaintenanceView } from './maintenance/maintenance-view.ts'

/** What an alert is about, whether it is stored already or not. */
export type AlertSubject = Pick<Alert, 'tenant' | 'device' | 'type' | 'metric' | 'cause' | 'severity'> & {
  rule?: { name: string } | null | undefined
}

/** Gateways, each behind the next, that are asked about: longer chains are not built, and a lookup each is what they cost. */
const GATEWAYS_MAX = 8

/** Causes that a silent gateway explains. What is wrong with trust is wrong whoever is silent. */
const EXPLAINED_BY_GATEWAY = new Set(['silence', 'value', 'model', 'rule'])

export interface SurroundingsOptions {
  store: AlertStore
  facts: DeviceFacts
  maintenance: MaintenanceView
  clock: Clock
  config: { dependencyRecheckMs: number }
}

/** Finds what surrounds an alert: the device's labels, and what keeps its notices back. */
export class SurroundingsFinder {
  readonly #options: SurroundingsOptions

  constructor(options: SurroundingsOptions) {
    this.#options = options
  }

  /** `labels`: those known already, of a stored alert. */
  async of(subject: AlertSubject, labels?: Record<string, string>): Promise<Surroundings> {
    const { facts, maintenance, clock, config } = this.#options
    const known = labels ?? (await facts.labelsOf(subject.tenant, subject.device))
    const nowMs = clock.nowMs()
    const { device, type, metric, cause, severity, rule } = subject
    const window = maintenance.activeFor(subject.tenant, { ...known, device, type, metric, cause, severity, rule: rule?.name ?? '' }, nowMs)
    if (window !== null) {
      return { labels: known, quiet: { reason: 'maintenance', ref: window.id, until: window.until }, askAgainAt: window.until }
    }
    const gatewayAlert = await this.#gatewayAlert(subject, known[GATEWAY_LABEL])
    if (gatewayAlert === null) return { labels: known, quiet: null, askAgainAt: null }
    const quiet = { reason: 'dependency', ref: gatewayAlert, until: null } as const
    return { labels: known, quiet, askAgainAt: nowMs + config.dependencyRecheckMs }
  }

  /** The nearest silent gateway on the device's way; none for a device that lies on a circle: all on it would keep each other quiet. */
  async #gatewayAlert({ tenant, device, cause }: AlertSubject, gateway: string | undefined): Promise<string | null> {
    if (!EXPLAINED_BY_GATEWAY.has(cause)) return null
    let silent: string | null = null
    const passed = new Set<string>()
    for (let next = gateway; next !== undefined && !passed.has(next) && passed.size < GATEWAYS_MAX;) {
      if (next === device) return null
      passed.add(next)
      silent ??= await this.#silenceOf(tenant, next)
      next = (await this.#options.facts.labelsOf(tenant, next))[GATEWAY_LABEL]
    }
    return silent
  }

  async #silenceOf(tenant: string, gateway: string): Promise<string | null> {
    const silence = await this.#options.store.newest(`${tenant}/${gateway}//silence`)
    return silence === null || silence.state === 'resolved' ? null : silence.id
  }
}
