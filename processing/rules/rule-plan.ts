import { matches } from '../../contracts/label-matcher.ts'
import type { RuleSettings } from './rule.ts'
import { versionAt, type RuleDocument } from './rule-document.ts'

/** A rule in force: the version of its time. */
export interface Standing {
  id: string
  version: number
  settings: RuleSettings
}

/** What judges one device, by metric. Worked out when rules, the device's labels or the version in force change. */
export interface RulePlan {
  generation: number
  type: string
  labels: Readonly<Record<string, string>>
  /** It holds for what is received from then on and before, epoch ms. */
  from: number
  until: number
  byId: ReadonlyMap<string, Standing>
  readings: ReadonlyMap<string, readonly Standing[]>
  windows: ReadonlyMap<string, readonly Standing[]>
}

/** The device that is judged. */
export interface PlannedDevice {
  device: string
  type: string
  labels: Readonly<Record<string, string>>
}

export function planOf(rules: readonly RuleDocument[], of: PlannedDevice, receivedAt: number, generation: number): RulePlan {
  const labels = { ...of.labels, device: of.device, type: of.type }
  const byId = new Map<string, Standing>()
  let [from, until] = [-Infinity, Infinity]
  for (const rule of rules) {
    const version = versionAt(rule, receivedAt)
    from = Math.max(from, version?.activeFrom ?? -Infinity)
    for (const { activeFrom } of rule.versions) if (activeFrom > receivedAt) until = Math.min(until, activeFrom)
    const settings = version?.settings
    if (version === null || settings == null || !settings.enabled || !matches(settings.matchers, labels)) continue
    byId.set(rule.id, { id: rule.id, version: version.version, settings })
  }
  const standing = [...byId.values()]
  const { type } = of
  return {
    generation,
    type,
    labels: of.labels,
    from,
    until,
    byId,
    readings: byMetric(standing, 'readings'),
    windows: byMetric(standing, 'windows'),
  }
}

function byMetric(rules: readonly Standing[], kind: RuleSettings['on']['kind']): RulePlan['readings'] {
  const found = new Map<string, Standing[]>()
  for (const rule of rules) {
    const { metric, on } = rule.settings
    if (on.kind === kind) found.set(metric, [...(found.get(metric) ?? []), rule])
  }
  return found
}
