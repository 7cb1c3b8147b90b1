import { ANOMALY, type Anomaly } from '../contracts/anomaly.ts'
import type { DueAt, OperatorOutput, ReadingOperator } from '../contracts/operator.ts'
import type { LoggedReading, MetricValue } from '../contracts/reading.ts'
import { TOPICS } from '../contracts/topics.ts'
import type { ByteWriter } from '../kernel/byte-stream.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Finding } from './detector.ts'
import { anomalyId } from './anomaly-id.ts'
import { advance, severityOf } from './anomaly-lifecycle.ts'
import { AnomalyMetrics } from './anomaly-metrics.ts'
import type { AnomalyConfig } from './config.ts'
import { confidenceOf } from './confidence.ts'
import { decodeDeviceState, encodeDeviceState, newDeviceState, trackOf, type DeviceAnomalyState } from './device-anomaly-state.ts'
import { clearedExplanationOf, explanationOf, silenceExplanation, silenceScore, type SilenceFigures } from './explanation.ts'
import { TieredDetector } from './ensemble/tiered-detector.ts'
import { LabelDetector } from './label-detector.ts'
import { COURSE_READINGS } from './feedback/course.ts'
import { Heeding, type Judged } from './feedback/heeding.ts'
import { patternOf } from './feedback/pattern.ts'
import { NO_FEEDBACK, type FeedbackView } from './feedback/rule.ts'
import {
  findingOf,
  isWarm,
  kindOf,
  learnInto,
  nearestNormal,
  noveltyOf,
  type Detectors,
  type MetricTrack,
  type Raised,
} from './metric-track.ts'
import { Policies } from './policies/policies.ts'
import { learnGap, silenceLimitMs, silentForMs } from './silence.ts'

/** A switch that never moved is surprising when it does, one that moves now and then is not: a quarter of its step is its resolution. */
const BOOLEAN_QUANTUM = 0.25
/** States of version 1 know of the fast tier only: that is taken over, the ensemble's members begin anew. */
const OLDEST_STATE_VERSION = 1

export interface AnomalyOperatorOptions {
  config: AnomalyConfig
  /** What a device type says of silence: ms, 0 = never silent, null = learn it from the device's own interval. Asked on every tick. */
  silenceAfterMs: (tenant: string, type: string) => number | null
  /** What people said of earlier anomalies; absent: nothing. */
  feedback?: FeedbackView
  /** Thresholds and impact; absent: those of `config`. */
  policies?: Policies
  metrics: Metrics
}

/** The detectors that judge, by the settings that scores depend on. */
export function detectorsFor({ ensemble, ensembleEveryMs }: Pick<AnomalyConfig, 'ensemble' | 'ensembleEveryMs'>): Detectors {
  const fullEveryMs = ensemble ? ensembleEveryMs : null
  return {
    number: new TieredDetector({ fullEveryMs }),
    boolean: new TieredDetector({ fullEveryMs, quantum: BOOLEAN_QUANTUM }),
    string: new LabelDetector(),
  }
}

/** All that tells one anomaly message of a device from another. */
type Particulars = Omit<Anomaly, 'id' | 'tenant' | 'device' | 'type'>

/**
 * Scores every value of every reading and says when a metric begins to be abnormal (`raised`; once more if it grows critical) and when
 * it is normal again (`cleared`); likewise when a device falls silent and when it speaks again. At most one anomaly is under way per
 * metric, and one silence per device.
 */
export class AnomalyOperator implements ReadingOperator<DeviceAnomalyState> {
  readonly name = 'anomaly'
  readonly stateVersion = 2
  readonly #config: AnomalyConfig
  readonly #silenceAfterMs: AnomalyOperatorOptions['silenceAfterMs']
  readonly #metrics: AnomalyMetrics
  readonly #detectors: Detectors
  readonly #heeding: Heeding
  readonly #policies: Policies

  constructor(options: AnomalyOperatorOptions) {
    this.#config = options.config
    this.#detectors = detectorsFor(options.config)
    this.#silenceAfterMs = options.silenceAfterMs
    this.#metrics = new AnomalyMetrics(options.metrics)
    this.#policies = options.policies ?? new Policies(options)
    this.#heeding = new Heeding({
      ...options,
      feedback: options.feedback ?? NO_FEEDBACK,
      detectors: this.#detectors,
      anomalyMetrics: this.#metrics,
    })
  }

  /** Counters of anomalies, for the operators beside this one. */
  get anomalyMetrics(): AnomalyMetrics {
    return this.#metrics
  }

  create(tenant: string, device: string, type: string): DeviceAnomalyState {
    return newDeviceState(tenant, device, type)
  }

  apply(state: DeviceAnomalyState, reading: LoggedReading, out: OperatorOutput): void {
    if (state.type !== reading.type) state.type = reading.type
    if (state.silence.under !== null) this.#endSilence(state, reading, out)
    learnGap(state.silence, reading, this.#config)
    for (const metric in reading.values) {
      const value = reading.values[metric]
      if (value !== undefined) this.#applyValue(state, reading, metric, value, out)
    }
  }

  tick(state: DeviceAnomalyState, nowMs: number, out: OperatorOutput): boolean {
    const { silence } = state
    if (silence.under !== null) return false
    const { typeLimitMs, limitMs } = this.#silenceLimitOf(state)
    if (limitMs === 0) return false
    const quietMs = silentForMs(silence, nowMs, limitMs)
    if (quietMs <= limitMs) return false
    silence.under = { sinceMs: nowMs - quietMs, limitMs, learnt: typeLimitMs === null }
    const figures = this.#silenceFigures(state, nowMs, false)
    this.#emit(state, out, {
      metric: '',
      cause: 'silence',
      phase: 'raised',
      ts: silence.under.sinceMs + limitMs,
      receivedAt: nowMs,
      score: silenceScore(figures),
      severity: 'warning',
      explanation: silenceExplanation(figures),
      partition: silence.lastPartition,
      offset: silence.lastOffset,
      correlationId: silence.lastCorrelationId,
    })
    return true
  }

  dueAt(state: DeviceAnomalyState, nowMs: number): DueAt | null {
    const { silence } = state
    const { limitMs } = this.#silenceLimitOf(state)
    if (silence.under !== null || limitMs === 0) return null
    silentForMs(silence, nowMs, limitMs)
    return { dueMs: silence.countFromMs + limitMs + 1, sinceMs: silence.countFromMs }
  }

  resume(state: DeviceAnomalyState, sinceMs: number): void {
    const { limitMs } = this.#silenceLimitOf(state)
    if (state.silence.under === null && limitMs > 0) silentForMs(state.silence, sinceMs, limitMs)
  }

  encode(state: DeviceAnomalyState, into: ByteWriter): void {
    encodeDeviceState(state, this.#detectors, into)
  }

  /** Throws InvalidInputError on bytes of an unknown version or shape: the caller starts the device afresh. */
  decode(bytes: Uint8Array, version: number): DeviceAnomalyState {
    if (version > this.stateVersion || version < OLDEST_STATE_VERSION) {
      throw new InvalidInputError(`the anomaly state is of version ${version}, this is version ${this.stateVersion}`, {
        remedy: 'Drop this state: the device is learnt anew.',
      })
    }
    return decodeDeviceState(bytes, this.#detectors)
  }

  /** Hot path: allocates nothing unless something is emitted. */
  #applyValue(state: DeviceAnomalyState, reading: LoggedReading, metric: string, value: MetricValue, out: OperatorOutput): void {
    const track = trackOf(state, this.#detectors, metric, kindOf(value), this.#config.metricsPerDeviceMax)
    if (track === undefined) {
      this.#metrics.unscored.inc()
      return
    }
    const novelty = noveltyOf(this.#detectors, track, value, reading.ts)
    const before = track.raised
    const config = this.#policies.of(state, metric, reading.partition, reading.offset)
    const step = advance(track, novelty, reading.ts, isWarm(this.#detectors, track), config)
    // Most values are nothing to anybody, and no anomaly is under way.
    if (before !== null || step !== 'none' || novelty >= config.confirmedThreshold) {
      const { phase, confirmedBy } = this.#heeding.heed(step, { state, track, reading, metric, value, novelty, before, config })
      if (phase !== 'none') this.#tell(phase, { state, track, reading, metric, value, novelty, before, config, confirmedBy }, out)
    }
    learnInto(this.#detectors, track, value, reading.ts)
  }

  #tell(phase: 'raised' | 'cleared', judged: Judged & { confirmedBy: string | undefined }, out: OperatorOutput): void {
    const { state, track, reading, metric, value, novelty, before, config, confirmedBy } = judged
    const finding = this.#findingOf(track, phase, value, reading.ts, config)
    const common = { metric, cause: 'value' as const, phase, ts: reading.ts, receivedAt: reading.receivedAt, score: novelty }
    const { partition, offset, correlationId } = reading
    const particulars: Particulars =
      phase === 'cleared'
        ? {
            ...common,
            severity: before?.severity ?? severityOf(novelty, config),
            explanation: clearedExplanationOf(finding, metric, this.#config.clearAfterReadings),
            ...eventOf(before),
            ...{ partition, offset, correlationId },
          }
        : {
            ...common,
            severity: severityOf(novelty, config),
            explanation: explanationOf(finding, metric, this.#detectors[track.kind].warmUpReadings),
            ...(track.kind === 'string' ? {} : { confidence: confidenceOf(novelty) }),
            pattern: patternOf(track, value, finding, novelty),
            ...(confirmedBy === undefined ? {} : { confirmedBy }),
            ...{ partition, offset, correlationId },
          }
    this.#emit(state, out, particulars)
  }

  /** Why; for what is raised, also what would have been normal. */
  #findingOf(track: MetricTrack, phase: 'raised' | 'cleared', value: MetricValue, tsMs: number, config: AnomalyConfig): Finding {
    const finding = findingOf(this.#detectors, track, value, tsMs)
    if (phase === 'cleared' || track.kind !== 'number' || finding.observed === null || finding.expected === null) return finding
    const { observed, expected } = finding
    return { ...finding, wouldBeNormal: nearestNormal(this.#detectors, track, observed, expected, tsMs, config.alertThreshold) }
  }

  #endSilence(state: DeviceAnomalyState, reading: LoggedReading, out: OperatorOutput): void {
    const figures = this.#silenceFigures(state, reading.receivedAt, true)
    state.silence.under = null
    this.#emit(state, out, {
      metric: '',
      cause: 'silence',
      phase: 'cleared',
      ts: reading.receivedAt,
      receivedAt: reading.receivedAt,
      score: 0,
      severity: 'warning',
      explanation: silenceExplanation(figures),
      partition: reading.partition,
      offset: reading.offset,
      correlationId: reading.correlationId,
    })
  }

  #silenceLimitOf({ tenant, type, silence }: DeviceAnomalyState): { typeLimitMs: number | null; limitMs: number } {
    const typeLimitMs = this.#silenceAfterMs(tenant, type)
    return { typeLimitMs, limitMs: silenceLimitMs(silence, typeLimitMs, this.#config) }
  }

  #silenceFigures(state: DeviceAnomalyState, untilMs: number, over: boolean): SilenceFigures {
    const { under, gapMs, readings } = state.silence
    const silentMs = under === null ? 0 : Math.max(0, untilMs - under.sinceMs)
    return { silentForMs: silentMs, limitMs: under?.limitMs ?? 0, learnt: under?.learnt ?? false, gapMs, readings, over }
  }

  #emit(state: DeviceAnomalyState, out: OperatorOutput, particulars: Particulars): void {
    const { tenant, device, type } = state
    const { cause, phase, severity } = particulars
    const anomaly: Anomaly = { id: anomalyId(tenant, device, particulars), tenant, device, type, ...particulars }
    if (phase === 'raised') this.#metrics.raised.inc({ cause, severity })
    else this.#metrics.cleared.inc({ cause })
    out.emit(TOPICS.anomalies, ANOMALY, tenant, device, anomaly)
  }
}

function eventOf(before: Raised | null): Pick<Anomaly, 'event'> {
  if (before?.sinceTs === undefined || before.peak === undefined) return {}
  const course = before.course?.slice(0, COURSE_READINGS) ?? []
  return { event: { durationMs: Math.max(0, before.abnormalTs - before.sinceTs), peakScore: before.peak, course } }
}
