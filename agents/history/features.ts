import type { AnomalyCause } from '../../contracts/anomaly.ts'
import type { CheckOutcome } from '../checks/check.ts'
import type { Shape } from '../evidence/shape.ts'

const KINDS: readonly AnomalyCause[] = ['value', 'silence', 'rule', 'certificate', 'security', 'rollout', 'platform']
/** What kind of trouble it is says more than any figure. */
const KIND_WEIGHT = 1.5

/** An incident as numbers: the kind of trouble, the shape of its values, what moved with it, what came before. Each about -1 to 1. */
export function featuresOf(
  cause: AnomalyCause,
  severity: 'warning' | 'critical',
  devices: number,
  outcomes: readonly CheckOutcome[],
): number[] {
  const signal = (check: CheckOutcome['name'], name: string): number => outcomes.find((one) => one.name === check)?.signals[name] ?? 0
  const is = (check: CheckOutcome['name']): number => Number(outcomes.some((one) => one.name === check && one.interesting))
  const share = (check: CheckOutcome['name']): number => signal(check, 'together') / Math.max(1, signal(check, 'seen'))
  const evidence = outcomes
    .find(({ name }) => name === 'spike')
    ?.evidence.find(({ kind, status }) => kind === 'deviation' && status === 'success')
  const shape = evidence?.result as Shape | undefined
  const bounded = (value: number): number => Math.tanh(value / SPREADS_FULL)
  const widths = shape === undefined ? 0 : Math.tanh(Math.log(Math.max(shape.widthRatio, 1e-3)) / 2)
  return [
    ...KINDS.map((kind) => (kind === cause ? KIND_WEIGHT : 0)),
    ...(shape === undefined
      ? [0, 0, 0, 0]
      : [bounded(shape.shiftSpreads), bounded(shape.peakSpreads), bounded(shape.trendSpreads), shape.smoothness / 2]),
    widths,
    is('spike'),
    is('level_shift'),
    is('drift'),
    is('flatline'),
    signal('variance', 'swings'),
    signal('variance', 'scatters'),
    share('peers'),
    share('co_moving') / 2,
    Math.min(1, signal('changes', 'firmware')),
    Math.min(1, signal('changes', 'config')) / 2,
    Math.min(1, signal('changes', 'maintenance')),
    Math.min(1, signal('security', 'shared')),
    signal('pipeline', 'clock'),
    signal('pipeline', 'content'),
    signal('co_moving', 'powerLow'),
    Math.min(1, Math.log2(Math.max(1, devices)) / 6),
    severity === 'critical' ? 0.3 : 0,
  ]
}
/** A change of so many spreads is large: more of it says little more. */
const SPREADS_FULL = 8

/** How alike two vectors point, -1 to 1; 0 when one is nothing, or they are not of one length. */
export function cosine(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return 0
  let dot = 0
  let ofA = 0
  let ofB = 0
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number
    const y = b[i] as number
    dot += x * y
    ofA += x * x
    ofB += y * y
  }
  return ofA === 0 || ofB === 0 ? 0 : dot / Math.sqrt(ofA * ofB)
}
