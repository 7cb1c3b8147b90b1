import { isLike, matches } from '../../contracts/label-matcher.ts'
import type { AnomalyConfig } from '../config.ts'
import type { Policy, PolicyChange } from './policy.ts'

/** What people put, as one version. */
export type PoliciesAt = Pick<PolicyChange, 'number'> & { readonly policies: readonly Policy[] }

/** The policies in force, as an operator asks for them. */
export interface PoliciesView {
  /** What people put for a tenant, as it holds at a place of the readings topic: the same place always has the same. Hot path. */
  at(tenant: string, partition: number, offset: number): PoliciesAt | null
}

/** Whom a value is from. An operator's state of the device: what holds for it is remembered by it. */
export interface Concerned {
  readonly tenant: string
  readonly device: string
  readonly type: string
}

interface Known {
  readonly number: number
  readonly type: string
  readonly labels: Readonly<Record<string, string>>
  readonly byMetric: Map<string, AnomalyConfig>
}

export interface PoliciesOptions {
  config: AnomalyConfig
  view?: PoliciesView
  /** A device's labels: the same object until they change. */
  labelsOf?: (tenant: string, device: string) => Readonly<Record<string, string>>
}

const NO_LABELS: Readonly<Record<string, string>> = {}
const NO_POLICIES: PoliciesView = { at: () => null }

/**
 * What holds for a metric of a device: the settings, with those of the first policy that names both in their place. Policies that people put come
 * before those of the configuration.
 */
export class Policies {
  readonly #config: AnomalyConfig
  readonly #view: PoliciesView
  readonly #labelsOf: NonNullable<PoliciesOptions['labelsOf']>
  readonly #known = new WeakMap<Concerned, Known>()
  /** One object per policy, however many metrics it holds for. */
  readonly #resolved = new WeakMap<Policy, AnomalyConfig>()

  constructor({ config, view = NO_POLICIES, labelsOf = () => NO_LABELS }: PoliciesOptions) {
    this.#config = config
    this.#view = view
    this.#labelsOf = labelsOf
  }

  /** Hot path: allocates nothing once it is known. */
  of(whom: Concerned, metric: string, partition: number, offset: number): AnomalyConfig {
    const put = this.#view.at(whom.tenant, partition, offset)
    if (put === null && this.#config.policies.length === 0) return this.#config
    const number = put?.number ?? 0
    const labels = this.#labelsOf(whom.tenant, whom.device)
    let known = this.#known.get(whom)
    if (known === undefined || known.number !== number || known.type !== whom.type || known.labels !== labels) {
      known = { number, type: whom.type, labels, byMetric: new Map() }
      this.#known.set(whom, known)
    }
    let config = known.byMetric.get(metric)
    if (config === undefined) {
      config = this.#resolve([...(put?.policies ?? []), ...this.#config.policies], whom, metric, labels)
      known.byMetric.set(metric, config)
    }
    return config
  }

  #resolve(policies: readonly Policy[], { type, device }: Concerned, metric: string, labels: Known['labels']): AnomalyConfig {
    const policy = policies.find(
      (one) => isLike(type, one.type) && isLike(metric, one.metric) && isLike(device, one.device) && matches(one.matchers ?? [], labels),
    )
    if (policy === undefined) return this.#config
    let config = this.#resolved.get(policy)
    if (config === undefined) this.#resolved.set(policy, (config = this.#with(policy)))
    return config
  }

  #with({ alertThreshold, criticalThreshold, impact }: Policy): AnomalyConfig {
    const alert = alertThreshold ?? this.#config.alertThreshold
    return {
      ...this.#config,
      alertThreshold: alert,
      criticalThreshold: Math.max(criticalThreshold ?? this.#config.criticalThreshold, alert),
      impact: impact ?? this.#config.impact,
      normalBelow: Math.min(this.#config.normalBelow, alert),
    }
  }
}
