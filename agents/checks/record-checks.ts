import type { Check, CheckContext, CheckResult, Fact } from './check.ts'
import { noData } from './check.ts'

/** What was done to the device or its type shortly before, and maintenance that was on. */
export const changes: Check = {
  name: 'changes',
  run: async ({ subject, ask, config }) => {
    const { device, type, openedAt } = subject
    const of = { kind: 'registry_fact', device, type, fromMs: openedAt - config.changesBeforeMs, toMs: openedAt } as const
    const [changed, maintained] = await Promise.all([ask({ ...of, fact: 'changes' }), ask({ ...of, fact: 'maintenance' })])
    const { changes: count, firmware, config: configured } = changed.result as Record<string, number>
    const on = Number(maintained.result.on)
    const facts: Fact[] = [
      ...((firmware ?? 0) > 0 ? [{ op: 'firmware_changes' as const, evidence: changed, required: true }] : []),
      ...((configured ?? 0) > 0 ? [{ op: 'config_changes' as const, evidence: changed, required: true }] : []),
      ...((count ?? 0) > 0 ? [{ op: 'change_at' as const, evidence: changed }] : []),
      ...(on > 0 ? [{ op: 'maintenance' as const, evidence: maintained, required: true }] : []),
    ]
    const interesting = (count ?? 0) > 0 || on > 0
    const signals = { firmware: firmware ?? 0, config: configured ?? 0, maintenance: on }
    return { status: 'success', interesting, facts, evidence: [changed, maintained], signals }
  },
}

export const security: Check = {
  name: 'security',
  run: async ({ subject, ask, config }) => {
    const { device, type, openedAt } = subject
    const evidence = await ask({
      kind: 'registry_fact',
      fact: 'findings',
      device,
      type,
      fromMs: openedAt - config.changesBeforeMs,
      toMs: openedAt,
    })
    const { open, shared, other } = evidence.result as { open: number; shared: number; other: number }
    const facts: Fact[] = [
      ...(open > 0 ? [{ op: 'findings' as const, evidence, required: true }] : []),
      ...(shared > 0 ? [{ op: 'shared_identity' as const, evidence, required: true }] : []),
    ]
    return { status: 'success', interesting: open > 0, facts, evidence: [evidence], signals: { shared, other } }
  },
}

/** A clock that is so far from where it was. */
const SKEW_MS = 30_000
/** Set aside, or sent twice: so many, and such a share of all. */
const TROUBLE_COUNT = 5
const TROUBLE_SHARE = 0.1

/** Do we ourselves see all that it sends, in time and once? Of an incident of the platform: what is wrong with it. */
export const pipeline: Check = {
  name: 'pipeline',
  run: async (context) => {
    const { subject, ask } = context
    if (subject.cause === 'platform') return troublesOf(context)
    const { device, spans, openedAt, asOf } = subject
    const nowhere = { from: openedAt, to: openedAt }
    const { window, baseline } = spans ?? { window: nowhere, baseline: nowhere }
    const evidence = await ask({ kind: 'pipeline_health', device, window, baseline, received: { from: openedAt - 1, to: asOf + 1 } })
    if (evidence.status !== 'success') return noData([evidence])
    const counts = evidence.result as Record<string, number>
    const { stored = 0, rejected = 0, rejectedForTime = 0, rejectedForContent = 0, duplicate = 0, lateReadings = 0, late = 0 } = counts
    const isMany = (count: number): boolean => count >= TROUBLE_COUNT && count >= TROUBLE_SHARE * (stored + rejected)
    const { delayMs, usualDelayMs } = evidence.result
    const skewMs = typeof delayMs === 'number' && typeof usualDelayMs === 'number' ? delayMs - usualDelayMs : 0
    const skewed = Math.abs(skewMs) >= SKEW_MS
    const facts: Fact[] = [
      ...(rejectedForTime > 0 ? [{ op: 'rejected_time' as const, evidence, required: isMany(rejectedForTime) }] : []),
      ...(rejectedForContent > 0 ? [{ op: 'rejected_content' as const, evidence, required: isMany(rejectedForContent) }] : []),
      ...(isMany(duplicate) ? [{ op: 'duplicate' as const, evidence, required: true }] : []),
      ...(lateReadings > 0 ? [{ op: 'late_readings' as const, evidence, required: true }] : []),
      ...(late > 0 ? [{ op: 'late' as const, evidence }] : []),
      ...(skewed
        ? [
            { op: 'delay' as const, evidence, required: true },
            { op: 'usual_delay' as const, evidence },
          ]
        : []),
    ]
    const signals = {
      clock: Number(isMany(rejectedForTime) || skewMs <= -SKEW_MS),
      delayed: Number(skewMs >= SKEW_MS),
      content: Number(isMany(rejectedForContent)),
      duplicates: Number(isMany(duplicate)),
    }
    return { status: 'success', interesting: facts.length > 0, facts, evidence: [evidence], signals }
  },
}

/** Troubles of the platform that are looked at; more would not be read. */
const TROUBLES_MAX = 20

/** Each trouble of the incident by what was seen of it; signals count them by kind. */
async function troublesOf({ subject, sources, ask, config }: CheckContext): Promise<CheckResult> {
  const { tenant, incident } = subject
  const { items } = await sources.alerts({ tenant, incident, limit: config.alertsMax })
  const asked = items.slice(-TROUBLES_MAX).map(({ id: trouble }) => ask({ kind: 'pipeline_health', incident, trouble }))
  const evidence = await Promise.all(asked)
  const signals: Record<string, number> = {}
  for (const { status, result } of evidence) {
    if (status !== 'success') continue
    const kind = String(result.trouble)
    signals[kind] = (signals[kind] ?? 0) + 1
  }
  const count = Object.keys(signals).length
  return count === 0 ? noData(evidence) : { status: 'success', interesting: true, facts: [], evidence, signals }
}
