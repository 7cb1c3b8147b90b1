import { createHash } from 'node:crypto'
import { ANOMALY, type Anomaly } from '../contracts/anomaly.ts'
import type { OperatorOutput, ReadingOperator } from '../contracts/operator.ts'
import type { LoggedReading, MetricValue } from '../contracts/reading.ts'
import { TOPICS } from '../contracts/topics.ts'
import type { ByteWriter } from '../kernel/byte-stream.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import type { Metrics } from '../kernel/metrics.ts'
import { advance, severityOf } from './anomaly-lifecycle.ts'
import { AnomalyMetrics } from './anomaly-metrics.ts'
import type { AnomalyConfig } from './config.ts'
import { decodeDeviceState, encodeDeviceState, newDeviceState, trackOf, type DeviceAnomalyState } from './device-anomaly-state.ts'
import { clearedExplanationOf, explanationOf, silenceExplanation, silenceScore, type SilenceFigures } from './explanation.ts'
import { LabelDetector } from './label-detector.ts'
import { findingOf, isWarm, kindOf, learnInto, noveltyOf, type Detectors } from './metric-track.ts'
import { NumericDetector } from './numeric-detector.ts'
import { learnGap, silenceLimitMs, silentForMs } from './silence.ts'

/** A switch that never moved is surprising when it does, one that moves now and then is not: a quarter of its step is its resolution. */
const BOOLEAN_QUANTUM = 0.25
const ID_CHARS = 32

export interface AnomalyOperatorOptions {
  config: AnomalyConfig
  /** What a device type says of silence: ms, 0 = never silent, null = learn it from the device's own interval. Asked on every tick. */
  silenceAfterMs: (tenant: string, type: string) => number | null
  metrics: Metrics
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
  readonly stateVersion = 1
  readonly #config: AnomalyConfig
  readonly #silenceAfterMs: AnomalyOperatorOptions['silenceAfterMs']
  readonly #metrics: AnomalyMetrics
  readonly #detectors: Detectors = {
    number: new NumericDetector(),
    boolean: new NumericDetector({ quantum: BOOLEAN_QUANTUM }),
    string: new LabelDetector(),
  }

  constructor(options: AnomalyOperatorOptions) {
    this.#config = options.config
    this.#silenceAfterMs = options.silenceAfterMs
    this.#metrics = new AnomalyMetrics(options.metrics)
  }

  create(tenant: string, device: string, type: string): DeviceAnomalyState {
    return newDeviceState(tenant, device, type)
  }

  apply(state: DeviceAnomalyState, reading: LoggedReading, out: OperatorOutput): void {
    state.type = reading.type
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
    const typeLimitMs = this.#silenceAfterMs(state.tenant, state.type)
    const limitMs = silenceLimitMs(silence, typeLimitMs, this.#config)
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

  encode(state: DeviceAnomalyState, into: ByteWriter): void {
    encodeDeviceState(state, this.#detectors, into)
  }

  /** Throws InvalidInputError on bytes of another version or shape: the caller starts the device afresh. */
  decode(bytes: Uint8Array, version: number): DeviceAnomalyState {
    if (version !== this.stateVersion) {
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
    const severityBefore = track.raised?.severity
    const phase = advance(track, novelty, reading.ts, isWarm(this.#detectors, track), this.#config)
    if (phase !== 'none') {
      const finding = findingOf(this.#detectors, track, value, reading.ts)
      this.#emit(state, out, {
        metric,
        cause: 'value',
        phase,
        ts: reading.ts,
        receivedAt: reading.receivedAt,
        score: novelty,
        severity: phase === 'cleared' && severityBefore !== undefined ? severityBefore : severityOf(novelty, this.#config),
        explanation:
          phase === 'cleared'
            ? clearedExplanationOf(finding, metric, this.#config.clearAfterReadings)
            : explanationOf(finding, metric, this.#detectors[track.kind].warmUpReadings),
        partition: reading.partition,
        offset: reading.offset,
        correlationId: reading.correlationId,
      })
    }
    learnInto(this.#detectors, track, value, reading.ts)
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

/** The same reading of the same log gives the same id, however often it is processed. */
function anomalyId(tenant: string, device: string, particulars: Particulars): string {
  const { metric, cause, phase, ts, partition, offset } = particulars
  const place = JSON.stringify([tenant, device, metric, cause, phase, ts, partition, offset])
  return createHash('sha256').update(place).digest('hex').slice(0, ID_CHARS)
}
