import { matches } from '../../contracts/label-matcher.ts'
import { CHANCE_MAX, chanceOf, usual } from './chance.ts'
import type { ConditionOf, Match } from './condition.ts'
import type { AlertFact } from './domain-facts.ts'

/** Devices and alerts that are named. */
const NAMED_MAX = 20
/** Where fewer than this part of the like alerts is of the group, it is not the group that explains them. */
const PART_MIN = 0.5

/** The same alert at several devices that have something in common, more than are usual there. */
export function sameCause(
  condition: ConditionOf<'same-cause'>,
  alerts: readonly AlertFact[],
  completeFromMs: number,
  nowMs: number,
): Match[] {
  const { withinMs, baselineMs, sharedBy, devicesMin } = condition
  const concerned = alerts.filter((alert) => matches(condition.matchers, labelsOf(alert)))
  const since = nowMs - withinMs
  const baselineFromMs = Math.max(since - baselineMs, completeFromMs)
  const groups = new Map<string, { recent: AlertFact[]; before: number }>()
  const alike = new Map<string, Set<string>>()
  for (const alert of concerned) {
    const shared = sharedBy.map((label) => labelsOf(alert)[label] ?? '')
    // What is not known cannot be in common.
    if (shared.some((value) => value === '')) continue
    const key = JSON.stringify([alert.cause, alert.metric, ...shared])
    const group = groups.get(key) ?? { recent: [], before: 0 }
    groups.set(key, group)
    if (alert.openedAt < since) group.before += alert.openedAt >= baselineFromMs ? 1 : 0
    else {
      group.recent.push(alert)
      const kind = JSON.stringify([alert.cause, alert.metric])
      alike.set(kind, (alike.get(kind) ?? new Set()).add(alert.device))
    }
  }
  return [...groups].flatMap(([key, { recent, before }]) => {
    const devices = [...new Set(recent.map(({ device }) => device))]
    const expected = usual(before, withinMs, Math.max(0, since - baselineFromMs))
    const [first] = recent
    if (first === undefined || devices.length < devicesMin || chanceOf(devices.length, expected) > CHANCE_MAX) return []
    const all = alike.get(JSON.stringify([first.cause, first.metric]))?.size ?? devices.length
    if (devices.length < all * PART_MIN) return []
    const shared = sharedBy.map((label) => `${label} ${labelsOf(first)[label] ?? ''}`).join(', ')
    return [
      {
        ...{
          key,
          title: `${first.cause} of ${first.metric === '' ? 'devices' : first.metric} at ${devices.length} devices with ${shared}`,
        },
        ...{
          devices: devices.slice(0, NAMED_MAX),
          deviceCount: devices.length,
          evidence: recent.slice(0, NAMED_MAX).map(({ id }) => `alert:${id}`),
        },
        figures: { devices: devices.length, alike: all, usual: round(expected) },
      },
    ]
  })
}

export function labelsOf({ device, type, labels }: Pick<AlertFact, 'device' | 'type' | 'labels'>): Record<string, string> {
  return { ...labels, device, type }
}

export function round(value: number): number {
  return Number(value.toPrecision(4))
}
