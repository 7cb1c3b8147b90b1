import type { ConditionOf, Match } from './condition.ts'
import type { ExpiryFact } from './domain-facts.ts'

const NAMED_MAX = 20
const DAY_MS = 86_400_000

/** Certificates that end soon although they should have been renewed by now, in numbers: something keeps devices from renewing. */
export function certificatesEnding(condition: ConditionOf<'certificates'>, expiries: readonly ExpiryFact[], nowMs: number): Match[] {
  const { withinMs, graceMs, devicesMin } = condition
  const ending = expiries.filter(({ notAfter, renewAt }) => notAfter <= nowMs + withinMs && renewAt + graceMs <= nowMs)
  const devices = [...new Set(ending.map(({ device }) => device))]
  if (devices.length < devicesMin) return []
  const soonest = Math.min(...ending.map(({ notAfter }) => notAfter))
  return [
    {
      ...{ key: 'fleet', title: `${devices.length} certificates end soon and are not renewed`, devices: devices.slice(0, NAMED_MAX) },
      deviceCount: devices.length,
      figures: { certificates: ending.length, daysLeft: Number(Math.max(0, (soonest - nowMs) / DAY_MS).toFixed(1)) },
      evidence: ending.slice(0, NAMED_MAX).map(({ serial }) => `certificate:${serial}`),
    },
  ]
}
