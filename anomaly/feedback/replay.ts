import type { Anomaly } from '../../contracts/anomaly.ts'
import type { FeedbackRule } from '../../contracts/feedback-change.ts'
import type { MetricValue } from '../../contracts/reading.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { AnomalyOperator } from '../anomaly-operator.ts'
import type { AnomalyConfig } from '../config.ts'
import type { Policies } from '../policies/policies.ts'
import { FixedFeedback } from './rule.ts'

/** One metric of one device as it was stored, oldest first. */
export interface StoredSeries {
  readonly tenant: string
  readonly type: string
  readonly device: string
  readonly metric: string
  readonly readings: readonly { ts: number; value: MetricValue }[]
}

/** An anomaly from its raising to its clearing, event time; infinity: it was not over. */
export interface Alarm {
  readonly fromTs: number
  readonly toTs: number
}

/** Labelled as abnormal, event time, both included. */
export interface AbnormalRange {
  readonly fromTs: number
  readonly toTs: number
}

export interface ReplayDifference {
  alarmsBefore: number
  alarmsRemoved: number
  alarmsAdded: number
  abnormalRanges: number
  trueAlarmsLost: number
  /** Of the ranges that have an alarm both ways. */
  delaysMs: number[]
}

/** Runs the online code over a series, reading by reading as it came. */
export class SeriesReplay {
  readonly #operator: AnomalyOperator
  readonly #series: StoredSeries
  readonly #state
  readonly #alarms: { fromTs: number; toTs: number }[] = []
  #at = 0

  /** `policies`: thresholds that people put; absent: those of `config`. */
  constructor(series: StoredSeries, rules: readonly FeedbackRule[], config: AnomalyConfig, policies?: Policies) {
    this.#series = series
    this.#operator = new AnomalyOperator({
      ...{ config, silenceAfterMs: () => 0, metrics: new Metrics(), feedback: new FixedFeedback(rules) },
      ...(policies === undefined ? {} : { policies }),
    })
    this.#state = this.#operator.create(series.tenant, series.device, series.type)
  }

  /** Takes up to `count` readings; false when there are no more. */
  step(count: number): boolean {
    const { tenant, device, type, metric, readings } = this.#series
    const end = Math.min(readings.length, this.#at + count)
    for (; this.#at < end; this.#at++) {
      const { ts, value } = readings[this.#at] as StoredSeries['readings'][number]
      const place = { partition: 0, offset: this.#at, correlationId: '' }
      const reading = { tenant, device, type, receivedAt: ts, ts, values: { [metric]: value }, ...place }
      this.#operator.apply(this.#state, reading, { emit: (_topic, _schema, _tenant, _device, anomaly) => this.#note(anomaly as Anomaly) })
    }
    return this.#at < readings.length
  }

  get alarms(): readonly Alarm[] {
    return this.#alarms
  }

  /** An anomaly that grows critical is raised again, and is still one. */
  #note({ phase, ts }: Anomaly): void {
    const last = this.#alarms.at(-1)
    const open = last !== undefined && last.toTs === Infinity
    if (phase === 'raised' && !open) this.#alarms.push({ fromTs: ts, toTs: Infinity })
    else if (phase === 'cleared' && open) last.toTs = ts
  }
}

/** What one set of alarms has and the other has not, and what becomes of labelled ranges. */
export function compareAlarms(before: readonly Alarm[], after: readonly Alarm[], abnormal: readonly AbnormalRange[]): ReplayDifference {
  const delaysMs: number[] = []
  let trueAlarmsLost = 0
  for (const range of abnormal) {
    const [was, is] = [before.find((alarm) => overlap(alarm, range)), after.find((alarm) => overlap(alarm, range))]
    if (was !== undefined && is === undefined) trueAlarmsLost++
    if (was !== undefined && is !== undefined) delaysMs.push(is.fromTs - was.fromTs)
  }
  return {
    alarmsBefore: before.length,
    alarmsRemoved: before.filter((alarm) => !after.some((other) => overlap(alarm, other))).length,
    alarmsAdded: after.filter((alarm) => !before.some((other) => overlap(alarm, other))).length,
    abnormalRanges: abnormal.length,
    trueAlarmsLost,
    delaysMs,
  }
}

function overlap(a: Alarm, b: Alarm): boolean {
  return a.fromTs <= b.toTs && b.fromTs <= a.toTs
}
