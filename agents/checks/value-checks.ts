import type { Evidence } from '../evidence/evidence.ts'
import type { Shape } from '../evidence/shape.ts'
import { noData, type Check, type CheckContext, type CheckName, type CheckResult, type Fact } from './check.ts'

/** Beyond so many spreads a value is far from the usual: one in some hundred of a normal distribution, and none of a sine. */
export const BEYOND_SPREADS = 3
/** From here on a median has moved: a sine's, taken over any part of its period, has not. */
export const MOVED_SPREADS = 2.5
/** A spike is a few readings, or a small share of what is usual. */
const SPIKE_READINGS = 6
const SPIKE_SHARE = 0.06
/** Back to the usual. */
const BACK_SPREADS = 2
/** A step by the largest usual one: larger ones than ever before come by chance, twice as large ones do not. */
const JUMP_TIMES = 2
/** Scatter by the usual one, from where it has changed. */
const WIDER_TIMES = 2.2
/** Neighbours correlated more than this swing; less, they are noise. */
const SMOOTH = 0.5
/** Readings of one value in a row that are many, by the usual longest run. */
const SAME_READINGS = 20
const SAME_TIMES = 3
const SAME_SHARE = 0.6
/** Part of a change that happens within the incident, or right at its beginning. */
const PART = 0.45

type Judge = (shape: Shape) => { interesting: boolean; facts: { op: Fact['op']; required?: boolean }[]; signals?: Record<string, number> }

/** The evidence that all of these rest on: one question, asked once. */
export function shapeEvidence({ subject, ask }: CheckContext): Promise<Evidence> | null {
  const { device, metric, spans } = subject
  if (metric === null || spans === null) return null
  return ask({ kind: 'deviation', device, metric, ...spans, beyondSpreads: BEYOND_SPREADS })
}

function shapeCheck(name: CheckName, judge: Judge): Check {
  return {
    name,
    run: async (context): Promise<CheckResult> => {
      const evidence = await shapeEvidence(context)
      if (evidence === null) return noData()
      if (evidence.status !== 'success') return noData([evidence])
      const shape = evidence.result as Shape
      const { interesting, facts, signals = {} } = judge(shape)
      const stated = interesting ? facts.map((fact) => ({ ...fact, evidence })) : []
      const enough = shape.count >= context.config.readingsAfterMin ? 1 : 0
      return { status: 'success', interesting, facts: stated, evidence: [evidence], signals: { ...signals, enough } }
    },
  }
}

export const spike = shapeCheck('spike', ({ beyond, longestBeyond, usualCount, tailSpreads, count, jumpRatio, stepRatio }) => {
  const few = Math.max(SPIKE_READINGS, SPIKE_SHARE * usualCount)
  const isBack = Math.abs(tailSpreads) < BACK_SPREADS && count > longestBeyond
  return {
    interesting: jumpRatio >= JUMP_TIMES && stepRatio < WIDER_TIMES && longestBeyond <= few && beyond <= 2 * few && isBack,
    facts: [{ op: 'peak', required: true }, { op: 'peak_spreads' }, { op: 'usual', required: true }, { op: 'peak_at' }, { op: 'beyond' }],
  }
})

export const levelShift = shapeCheck('level_shift', (shape) => {
  const { shiftSpreads, tailSpreads, headSpreads, approachSpreads, trendSpreads } = shape
  const moved = Math.abs(shiftSpreads) >= MOVED_SPREADS && Math.abs(tailSpreads) >= MOVED_SPREADS
  const atOnce = Math.abs(headSpreads - approachSpreads) >= PART * Math.abs(shiftSpreads)
  const stays = Math.abs(trendSpreads) < PART * Math.abs(shiftSpreads)
  return {
    interesting: moved && atOnce && stays,
    facts: [{ op: 'usual', required: true }, { op: 'shift', required: true }, { op: 'shift_spreads' }],
    signals: { moved: moved ? 1 : 0, sign: Math.sign(shiftSpreads) },
  }
})

export const drift = shapeCheck('drift', (shape) => {
  const { tailSpreads, headSpreads, approachSpreads, trendSpreads } = shape
  const moved = Math.abs(tailSpreads) >= MOVED_SPREADS
  const slowly = Math.abs(headSpreads - approachSpreads) < PART * Math.abs(tailSpreads)
  const towards = Math.sign(trendSpreads) === Math.sign(tailSpreads) && Math.abs(trendSpreads) >= 1
  const begun = Math.sign(approachSpreads) === Math.sign(tailSpreads) && Math.abs(approachSpreads) >= 1
  return {
    interesting: moved && slowly && (towards || begun),
    facts: [{ op: 'usual', required: true }, { op: 'shift', required: true }, { op: 'trend_spreads' }],
    signals: { sign: Math.sign(tailSpreads) },
  }
})

export const variance = shapeCheck('variance', ({ widthRatio, stepRatio, smoothness, shiftSpreads }) => {
  const stays = Math.abs(shiftSpreads) < BACK_SPREADS
  const swings = stays && widthRatio >= WIDER_TIMES && smoothness >= SMOOTH
  const scatters = stays && !swings && stepRatio >= WIDER_TIMES
  return {
    interesting: swings || scatters,
    facts: [{ op: 'usual', required: true }, { op: 'width_ratio', required: true }, { op: 'step_ratio' }, { op: 'peak' }],
    signals: { swings: Number(swings), scatters: Number(scatters) },
  }
})

export const flatline = shapeCheck('flatline', ({ longestSame, usualLongestSame, count }) => ({
  interesting: longestSame >= Math.max(SAME_READINGS, SAME_TIMES * usualLongestSame) && longestSame >= SAME_SHARE * count,
  facts: [{ op: 'usual' }, { op: 'longest_same', required: true }],
}))

/** What the detector itself said. */
export const threshold: Check = {
  name: 'threshold',
  run: async ({ subject, ask }) => {
    const [score, parts] = await Promise.all([
      ask({ kind: 'model_score', anomaly: subject.anomaly }),
      ask({ kind: 'attribution', anomaly: subject.anomaly }),
    ])
    if (score.status !== 'success') return noData([score, parts])
    const { observed, expected } = score.result
    const isValue = subject.metric !== null
    const facts: Fact[] = [
      { op: 'onset', evidence: score, required: true },
      ...(isValue && typeof observed === 'number' ? [{ op: 'observed' as const, evidence: score, required: true }] : []),
      ...(isValue && typeof expected === 'number' ? [{ op: 'expected' as const, evidence: score }] : []),
      { op: 'score', evidence: score },
      ...(parts.status === 'success' ? [{ op: 'weight' as const, evidence: parts }] : []),
    ]
    return { status: 'success', interesting: true, facts, evidence: [score, parts], signals: { score: Number(score.result.score) } }
  },
}
