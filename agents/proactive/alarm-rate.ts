import { matches } from '../../contracts/label-matcher.ts'
import { CHANCE_MAX, chanceOf, usual } from './chance.ts'
import type { ConditionOf, Match } from './condition.ts'
import type { AlertFact } from './domain-facts.ts'
import { labelsOf, round } from './same-cause.ts'

const NAMED_MAX = 20

/** A device that gives alarms more often than it used to. */
export function alarmRate(
  condition: ConditionOf<'alarm-rate'>,
  alerts: readonly AlertFact[],
  completeFromMs: number,
  nowMs: number,
): Match[] {
  const { withinMs, baselineMs, alertsMin } = condition
  const since = nowMs - withinMs
  const baselineFromMs = Math.max(since - baselineMs, completeFromMs)
  const byDevice = new Map<string, { recent: AlertFact[]; before: number }>()
  for (const alert of alerts) {
    if (!matches(condition.matchers, labelsOf(alert))) continue
    const of = byDevice.get(alert.device) ?? { recent: [], before: 0 }
    byDevice.set(alert.device, of)
    if (alert.openedAt >= since) of.recent.push(alert)
    else if (alert.openedAt >= baselineFromMs) of.before++
  }
  return [...byDevice].flatMap(([device, { recent, before }]) => {
    const expected = usual(before, withinMs, Math.max(0, since - baselineFromMs))
    if (recent.length < alertsMin || chanceOf(recent.length, expected) > CHANCE_MAX) return []
    return [
      {
        ...{ key: device, title: `${device} gives more and more alarms`, devices: [device], deviceCount: 1 },
        figures: { alerts: recent.length, usual: round(expected) },
        evidence: recent.slice(0, NAMED_MAX).map(({ id }) => `alert:${id}`),
      },
    ]
  })
}
