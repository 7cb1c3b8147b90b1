import { matches } from '../../contracts/label-matcher.ts'
import type { Clock } from '../../kernel/time.ts'
import { alarmRate } from './alarm-rate.ts'
import { certificatesEnding } from './certificates-ending.ts'
import type { Condition, ConditionOf, Match } from './condition.ts'
import type { DomainFacts, LimitFact } from './domain-facts.ts'
import { driftOf } from './drift.ts'
import { labelsOf, sameCause } from './same-cause.ts'

/** Points of one trend. */
const TREND_POINTS = 96
const DEVICES_PAGE = 500

export interface PatternLimits {
  alertsMax: number
  expiriesMax: number
  /** Trends taken at one look. */
  trendsMax: number
}

/** What of a condition is met now. `signal` ends a look that is not wanted any more. */
export async function matchesOf(
  condition: Condition,
  tenant: string,
  { facts, clock, limits, signal }: { facts: DomainFacts; clock: Clock; limits: PatternLimits; signal: AbortSignal },
): Promise<Match[]> {
  const nowMs = clock.nowMs()
  switch (condition.kind) {
    case 'same-cause':
    case 'alarm-rate': {
      const { items, fromMs } = await facts.alerts(tenant, nowMs - condition.withinMs - condition.baselineMs, limits.alertsMax)
      return condition.kind === 'same-cause' ? sameCause(condition, items, fromMs, nowMs) : alarmRate(condition, items, fromMs, nowMs)
    }
    case 'certificates':
      return certificatesEnding(condition, await facts.expiries(tenant, limits.expiriesMax), nowMs)
    case 'drift':
      return drifts(condition, tenant, { facts, limits, signal, nowMs })
  }
}

async function drifts(
  condition: ConditionOf<'drift'>,
  tenant: string,
  { facts, limits, signal, nowMs }: { facts: DomainFacts; limits: PatternLimits; signal: AbortSignal; nowMs: number },
): Promise<Match[]> {
  const { limit, lookBackMs, withinMs } = condition
  const wanted: LimitFact[] = limit === null ? await facts.limits(tenant) : [{ ...limit, matchers: [], rule: null }]
  const found: Match[] = []
  if (wanted.length === 0) return found
  let trends = 0
  for (let after = ''; ;) {
    const page = await facts.devices(tenant, after, DEVICES_PAGE)
    for (const of of page) {
      const labels = labelsOf(of)
      for (const each of wanted) {
        if (!matches(condition.matchers, labels) || !matches(each.matchers, labels)) continue
        if (++trends > limits.trendsMax || signal.aborted) return found
        const { metric } = each
        const intervalMs = Math.ceil(lookBackMs / TREND_POINTS)
        const means = await facts.means({ tenant, device: of.device, metric, fromMs: nowMs - lookBackMs, toMs: nowMs, intervalMs })
        found.push(...driftOf(of.device, each, means, nowMs, withinMs))
      }
    }
    if (page.length < DEVICES_PAGE) return found
    after = page.at(-1)?.device ?? ''
  }
}
