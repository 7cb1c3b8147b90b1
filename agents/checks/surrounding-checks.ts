import type { Evidence } from '../evidence/evidence.ts'
import type { Shape } from '../evidence/shape.ts'
import { noData, type Check, type CheckContext, type CheckResult, type Fact } from './check.ts'
import { BEYOND_SPREADS, MOVED_SPREADS } from './value-checks.ts'

/** A gap so many times the usual one is none of the usual ones. */
const GAP_TIMES = 5
const GAP_MIN_MS = 10_000

export const gap: Check = {
  name: 'gap',
  run: async ({ subject, ask }) => {
    const { device, oldestTs, newestTs } = subject
    if (oldestTs === null || newestTs === null) return noData()
    const evidence = await ask({ kind: 'gap', device, fromTs: oldestTs, toTs: newestTs + 1 })
    if (evidence.status !== 'success') return noData([evidence])
    const { usualGapMs, silentForMs, longestGapMs } = evidence.result as Record<string, number>
    const limitMs = Math.max(GAP_MIN_MS, GAP_TIMES * (usualGapMs as number))
    const silent = (silentForMs as number) > limitMs
    const paused = (longestGapMs as number) > limitMs
    const isSilence = subject.cause === 'silence'
    const facts: Fact[] = [
      ...(silent
        ? [
            { op: 'silent_for' as const, evidence, required: isSilence },
            { op: 'last_seen' as const, evidence },
          ]
        : []),
      ...(paused ? [{ op: 'longest_gap' as const, evidence }] : []),
      ...(silent || paused ? [{ op: 'usual_gap' as const, evidence, required: isSilence && silent }] : []),
    ]
    return {
      status: 'success',
      interesting: silent || paused,
      facts,
      evidence: [evidence],
      signals: { silent: Number(silent), paused: Number(paused) },
    }
  },
}

/** Did the others of its type do the same at the same time? */
export const peers: Check = {
  name: 'peers',
  run: async (context) => {
    const { subject, ask } = context
    const { metric, spans, cause, device } = subject
    const others = await context.peers()
    if (spans === null || others.length === 0) return noData()
    if (cause === 'silence') {
      // Halfway between its last reading and when it counted as silent: those that speak have spoken since, those that fell silent with it have not.
      const from = Math.floor((spans.window.to + subject.onsetTs) / 2)
      const window = { from, to: Math.max(from, subject.asOf) + 1 }
      return compared(await ask({ kind: 'peer_comparison', silent: device, devices: [...others], window, baseline: spans.baseline }))
    }
    if (metric === null) return noData()
    const series = others.map((other) => ({ device: other, metric }))
    return compared(await ask({ kind: 'peer_comparison', of: { device, metric }, series, ...spans, movedSpreads: MOVED_SPREADS }))
  },
}

/** Did its other metrics change at the same time? And its power supply? */
export const coMoving: Check = {
  name: 'co_moving',
  run: async (context) => {
    const { subject, ask } = context
    const { metric, spans, device, otherMetrics } = subject
    if (spans === null) return noData()
    const power = await powerOf(context)
    const series = otherMetrics.map((other) => ({ device, metric: other }))
    const asked = metric === null || series.length === 0
    const others = asked
      ? null
      : await ask({ kind: 'peer_comparison', of: { device, metric }, series, ...spans, movedSpreads: MOVED_SPREADS })
    const result = others === null ? noData() : compared(others)
    if (power === null) return result
    return {
      status: 'success',
      interesting: result.interesting || power.low,
      facts: [...result.facts, ...power.facts],
      evidence: [...result.evidence, power.evidence],
      signals: { ...result.signals, powerLow: Number(power.low) },
    }
  },
}

/** The metric of its power that fell most; null where there is none to look at. */
async function powerOf({ subject, ask }: CheckContext): Promise<{ low: boolean; facts: Fact[]; evidence: Evidence } | null> {
  const { spans, device, powerMetrics } = subject
  if (spans === null) return null
  const asked = await Promise.all(
    powerMetrics.map(async (metric) => ({
      metric,
      evidence: await ask({ kind: 'deviation', device, metric, ...spans, beyondSpreads: BEYOND_SPREADS }),
    })),
  )
  const known = asked.filter(({ evidence }) => evidence.status === 'success')
  const tailOf = (evidence: Evidence): number => (evidence.result as Shape).tailSpreads
  const [lowest] = known.toSorted((a, b) => tailOf(a.evidence) - tailOf(b.evidence))
  if (lowest === undefined) return null
  const { evidence, metric } = lowest
  const low = tailOf(evidence) <= -MOVED_SPREADS
  const facts: Fact[] = low
    ? [
        { op: 'usual', evidence, metric },
        { op: 'shift', evidence, metric, required: true },
      ]
    : []
  return { low, facts, evidence }
}

function compared(evidence: Evidence): CheckResult {
  if (evidence.status !== 'success') return noData([evidence])
  const { seen, moved, together } = evidence.result as { seen: number; moved: number; together: number }
  const facts: Fact[] = [
    { op: 'compared', evidence, required: moved > 0 },
    { op: 'together', evidence, required: moved > 0 },
  ]
  return { status: 'success', interesting: moved > 0, facts, evidence: [evidence], signals: { seen, moved, together } }
}
