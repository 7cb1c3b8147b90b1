import assert from 'node:assert/strict'
import type { Anomaly } from '../../../contracts/anomaly.ts'
import type { FeedbackRule } from '../../../contracts/feedback-change.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { AnomalyOperator } from '../../anomaly-operator.ts'
import { AnomalyConfigSchema } from '../../config.ts'
import { BASES, EVENT_KINDS, type EventKind, type EventSeries, type SeriesEvent } from '../../synthetic-events.ts'
import { FixedFeedback } from '../rule.ts'

const START_TS = 1_763_680_000_000
const SECOND_MS = 1_000
/** An alarm so many readings after an event's end is still of it. */
const GRACE_READINGS = 12

export function anomaliesOf(values: readonly number[], rules: readonly FeedbackRule[]): Anomaly[] {
  const checked = compileSchema(AnomalyConfigSchema)({})
  assert.ok(checked.status === 'valid')
  const anomalies: Anomaly[] = []
  const out = { emit: (...[, , , , value]: [string, string, string, string, object]) => void anomalies.push(value as Anomaly) }
  const operator = new AnomalyOperator({
    config: checked.value,
    silenceAfterMs: () => 0,
    metrics: new Metrics(),
    feedback: new FixedFeedback(rules),
  })
  const state = operator.create('default', 'pump-1', 'pump')
  for (const [i, value] of values.entries()) {
    const ts = START_TS + i * SECOND_MS
    const at = { tenant: 'default', device: 'pump-1', type: 'pump', receivedAt: ts, ts, correlationId: '', partition: 0, offset: i }
    operator.apply(state, { ...at, values: { flow: value } }, out)
  }
  return anomalies
}

export function ruleOf(raised: Anomaly, cleared: Anomaly | undefined, verdict: FeedbackRule['verdict']): FeedbackRule {
  assert.ok(raised.pattern)
  return {
    id: `judged-${raised.ts}`,
    tenant: 'default',
    type: 'pump',
    metric: 'flow',
    devices: null,
    verdict,
    pattern: raised.pattern,
    event: cleared?.event ?? null,
  }
}

export const readingOf = (anomaly: Anomaly): number => (anomaly.ts - START_TS) / SECOND_MS
export const raisedIn = (anomalies: readonly Anomaly[], event: SeriesEvent): Anomaly | undefined =>
  anomalies.find((one) => one.phase === 'raised' && readingOf(one) >= event.from && readingOf(one) < event.to + GRACE_READINGS)

/** Two other kinds for each series, not the same for each: all pairs of kinds come up, and the test stays short. */
export function othersFor(kind: EventKind, base: keyof typeof BASES): EventKind[] {
  const others = (Object.keys(EVENT_KINDS) as EventKind[]).filter((other) => other !== kind)
  const turn = Object.keys(BASES).indexOf(base)
  return [others[(2 * turn) % others.length], others[(2 * turn + 1) % others.length]].filter((other) => other !== undefined)
}

export interface Tally {
  repeats: number
  repeatsLeft: number
  others: number
  othersLost: number
}

/** Rejects the first alarm of a kind, and counts what becomes of its repeats and of all the others. */
export function reject(series: EventSeries, kind: EventKind, tally: Tally, judged = 1): void {
  const before = anomaliesOf(series.values, [])
  const ofKind = series.events.filter((event) => event.kind === kind)
  const alarmed = ofKind.filter((event) => raisedIn(before, event) !== undefined)
  const rules = alarmed.slice(0, judged).flatMap((event) => {
    const raised = raisedIn(before, event)
    return raised === undefined
      ? []
      : [
          ruleOf(
            raised,
            before.find((one) => one.phase === 'cleared' && one.ts >= raised.ts),
            'rejected',
          ),
        ]
  })
  if (rules.length === 0) return
  const after = anomaliesOf(series.values, rules)
  for (const event of alarmed.slice(judged)) {
    tally.repeats++
    if (raisedIn(after, event) !== undefined) tally.repeatsLeft++
  }
  for (const event of series.events) {
    if (event.kind === kind || raisedIn(before, event) === undefined) continue
    tally.others++
    if (raisedIn(after, event) === undefined) tally.othersLost++
  }
}
