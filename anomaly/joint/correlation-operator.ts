import { ANOMALY, type Anomaly, type Explanation } from '../../contracts/anomaly.ts'
import type { OperatorOutput, ReadingOperator } from '../../contracts/operator.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { ByteWriter } from '../../kernel/byte-stream.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { anomalyId } from '../anomaly-id.ts'
import { advance, severityOf } from '../anomaly-lifecycle.ts'
import type { AnomalyMetrics } from '../anomaly-metrics.ts'
import type { AnomalyConfig } from '../config.ts'
import { Policies } from '../policies/policies.ts'
import { seenText } from '../explanation.ts'
import type { Raised } from '../metric-track.ts'
import { CorrelationDetector } from './correlation-detector.ts'
import { TOGETHER_MAX, type CorrelationState } from './correlation-state.ts'

/** How the metrics of one device go together. */
export interface DeviceCorrelation {
  readonly tenant: string
  readonly device: string
  type: string
  /** Metrics that are looked at together, in the order in which they were first seen. */
  readonly metrics: string[]
  /** Made when there is a second metric. */
  state: CorrelationState | null
  /** Event time of the latest reading that was judged, epoch ms. */
  judgedTs: number
  raised: Raised | null
  /** The metric that the anomaly under way was raised for. */
  metric: string
}

type Header = Omit<DeviceCorrelation, 'state'> & { bytes: number }

const LENGTH_BYTES = 4

/**
 * Says when a metric of a device no longer goes with its others (`raised`, of cause `correlation`), and when it does again. At most one such
 * anomaly is under way per device. Like the ensemble it judges at most one reading each `ensembleEveryMs` of event time.
 */
export class CorrelationOperator implements ReadingOperator<DeviceCorrelation> {
  readonly name = 'correlation'
  readonly stateVersion = 1
  readonly #config: AnomalyConfig
  readonly #metrics: AnomalyMetrics
  readonly #policies: Policies
  readonly #detector = new CorrelationDetector()
  readonly #values: number[] = []

  constructor(options: { config: AnomalyConfig; anomalyMetrics: AnomalyMetrics; policies?: Policies }) {
    this.#config = options.config
    this.#metrics = options.anomalyMetrics
    this.#policies = options.policies ?? new Policies(options)
  }

  create(tenant: string, device: string, type: string): DeviceCorrelation {
    return { tenant, device, type, metrics: [], state: null, judgedTs: 0, raised: null, metric: '' }
  }

  apply(own: DeviceCorrelation, reading: LoggedReading, out: OperatorOutput): void {
    if (own.type !== reading.type) own.type = reading.type
    const sinceMs = reading.ts - own.judgedTs
    if (sinceMs >= 0 && sinceMs < this.#config.ensembleEveryMs) return
    if (!this.#take(own, reading)) return
    own.judgedTs = reading.ts
    const state = (own.state ??= this.#detector.create())
    const novelty = this.#detector.novelty(state, this.#values)
    const before = own.raised
    const warm = state[0]! >= this.#detector.warmUpReadings
    const config = this.#policies.of(own, '', reading.partition, reading.offset)
    const phase = advance(own, novelty, reading.ts, warm, config)
    if (phase !== 'none') this.#tell(own, phase, { reading, novelty, before, state, config }, out)
    this.#detector.learn(state, this.#values)
  }

  encode(own: DeviceCorrelation, into: ByteWriter): void {
    const { state, ...rest } = own
    const bytes = state === null ? new Uint8Array(0) : this.#detector.snapshot(state)
    const header: Header = { ...rest, bytes: bytes.byteLength }
    const text = JSON.stringify(header)
    into.uint32(Buffer.byteLength(text))
    into.characters(text)
    into.bytes(bytes)
  }

  /** Throws InvalidInputError on bytes of an unknown version or shape: the caller starts the device afresh. */
  decode(bytes: Uint8Array, version: number): DeviceCorrelation {
    const remedy = 'Drop this state: the device is learnt anew.'
    if (version !== this.stateVersion) throw new InvalidInputError(`the state of metrics together is of version ${version}`, { remedy })
    try {
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      const from = LENGTH_BYTES + buffer.readUInt32LE(0)
      const { bytes: length, ...rest } = JSON.parse(buffer.subarray(LENGTH_BYTES, from).toString()) as Header
      return { ...rest, state: length === 0 ? null : this.#detector.restore(buffer.subarray(from, from + length)) }
    } catch (cause) {
      throw new InvalidInputError('the bytes are not the state of metrics together', { cause, remedy })
    }
  }

  /** Fills `#values`; false where there are not two numbers. */
  #take(own: DeviceCorrelation, { values }: LoggedReading): boolean {
    const { metrics } = own
    let numbers = 0
    this.#values.length = metrics.length
    this.#values.fill(Number.NaN)
    for (const metric in values) {
      const value = values[metric]
      if (typeof value !== 'number') continue
      // Nearly every reading has the same metrics in the same order.
      let place = metrics[numbers] === metric ? numbers : metrics.indexOf(metric)
      if (place === -1 && metrics.length < TOGETHER_MAX) place = metrics.push(metric) - 1
      if (place === -1) continue
      this.#values[place] = value
      numbers++
    }
    return numbers > 1
  }

  #tell(
    own: DeviceCorrelation,
    phase: 'raised' | 'cleared',
    judged: { reading: LoggedReading; novelty: number; before: Raised | null; state: CorrelationState; config: AnomalyConfig },
    out: OperatorOutput,
  ): void {
    const { reading, novelty, before, state, config } = judged
    const explanation = this.#explain(own, state)
    if (phase === 'raised' && before === null) own.metric = explanation.contributions[0]?.part ?? ''
    const { ts, receivedAt, partition, offset, correlationId } = reading
    const severity = phase === 'cleared' && before !== null ? before.severity : severityOf(novelty, config)
    const particulars = { metric: own.metric, cause: 'correlation' as const, phase, ts, receivedAt, score: novelty, severity, explanation }
    const { tenant, device, type } = own
    const place = { partition, offset, correlationId }
    const anomaly: Anomaly = { id: anomalyId(tenant, device, { ...particulars, ...place }), tenant, device, type, ...particulars, ...place }
    if (phase === 'raised') this.#metrics.raised.inc({ cause: 'correlation', severity })
    else this.#metrics.cleared.inc({ cause: 'correlation' })
    out.emit(TOPICS.anomalies, ANOMALY, tenant, device, anomaly)
  }

  /** Parts are metrics. */
  #explain(own: DeviceCorrelation, state: CorrelationState): Explanation {
    const { sentence, contributions, ...rest } = this.#detector.explain(state, this.#values)
    const named = contributions.map(({ part, weight }) => ({ part: own.metrics[Number(part)] ?? part, weight }))
    const seen = seenText(rest.readingsSeen, this.#detector.warmUpReadings)
    return { ...rest, contributions: named, text: `${named[0]?.part ?? own.metric} ${sentence}; ${seen}` }
  }
}
