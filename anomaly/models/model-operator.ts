import { createHash } from 'node:crypto'
import { ANOMALY, type Anomaly } from '../../contracts/anomaly.ts'
import type { OperatorOutput, ReadingOperator } from '../../contracts/operator.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { ByteWriter } from '../../kernel/byte-stream.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import type { Clock } from '../../kernel/time.ts'
import { advance, severityOf } from '../anomaly-lifecycle.ts'
import type { AnomalyConfig } from '../config.ts'
import { Policies } from '../policies/policies.ts'
import { newWindow, takeReading, type DeviceWindow } from './device-window.ts'
import { decodeWindows, encodeWindows, type ModelDeviceState } from './model-device-state.ts'
import { modelClearedExplanation, modelExplanation } from './model-explanation.ts'
import { observe, type Observed } from './observations.ts'
import type { Scorer } from './scorer.ts'

/** A model in use. */
export interface ServedModel {
  readonly scorer: Scorer
  /** Scores, and is not listened to. */
  readonly inShadow: boolean
  readonly observed: Observed
}

/** The models of a device type, none, one, or two. */
export type Served = (tenant: string, type: string) => readonly ServedModel[]

export interface ModelOperatorOptions {
  config: AnomalyConfig
  /** Thresholds and impact; absent: those of `config`. */
  policies?: Policies
  served: Served
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** A row that waits to be scored with others. */
interface Waiting {
  state: ModelDeviceState
  window: DeviceWindow
  /** What its reading says; the reading itself is let go. */
  at: Pick<LoggedReading, 'ts' | 'receivedAt' | 'partition' | 'offset' | 'correlationId'>
  isFresh: boolean
  /** Rows that its device had by then. */
  seen: number
}

/** Rows of one model that wait, their windows one after the other. */
interface Batch {
  readonly model: ServedModel
  readonly waiting: Waiting[]
  readonly windows: Float32Array
}

/** Rows scored at once: more are no cheaper each, and their memory is bounded. */
const BATCH_ROWS = 512
const ID_CHARS = 32
const NONE: readonly ServedModel[] = []

/**
 * Has the metrics of each device judged together by the model of its type, at most once a second of event time, many devices at once: rows
 * wait for the end of the batch that the loop has in hand. A score depends on the model and the readings of its device alone. A model in
 * shadow is only counted.
 */
export class ModelOperator implements ReadingOperator<ModelDeviceState> {
  readonly name = 'models'
  readonly stateVersion = 1
  readonly #options: ModelOperatorOptions
  readonly #policies: Policies
  readonly #batches = new Map<ServedModel, Batch>()
  #emissions: Anomaly[] = []
  readonly #rows
  readonly #raised
  readonly #failures
  readonly #seconds

  constructor(options: ModelOperatorOptions) {
    this.#options = options
    this.#policies = options.policies ?? new Policies(options)
    const { metrics } = options
    this.#rows = metrics.counter('models_scored_rows_total', 'Rows that a model scored, by role of the model', ['role'])
    this.#raised = metrics.counter('models_alarms_total', 'Times a model began to find a device abnormal, by role of the model', ['role'])
    this.#failures = metrics.counter('models_failed_rows_total', 'Rows that could not be scored')
    this.#seconds = metrics.histogram('models_batch_seconds', 'Scoring one batch of rows', LATENCY_BUCKETS_S)
  }

  create(tenant: string, device: string, type: string): ModelDeviceState {
    return { tenant, device, type, windows: NO_WINDOWS }
  }

  apply(state: ModelDeviceState, reading: LoggedReading, out: OperatorOutput): void {
    const served = reading.type === '' ? NONE : this.#options.served(state.tenant, reading.type)
    if (state.type !== reading.type) state.type = reading.type
    if (served.length === 0 && state.windows.length === 0) return
    this.#keepServed(state, served, reading, out)
    for (let k = 0; k < served.length; k++) {
      const model = served[k]!
      const window = windowOf(state, model.scorer)
      if (takeReading(window, model.scorer.manifest, reading)) this.#enqueue(model, state, window, reading, out.isFresh !== false)
    }
  }

  finish(out: OperatorOutput): void {
    for (const batch of this.#batches.values()) this.#score(batch)
    this.#batches.clear()
    const emissions = this.#emissions
    this.#emissions = []
    for (const anomaly of emissions) out.emit(TOPICS.anomalies, ANOMALY, anomaly.tenant, anomaly.device, anomaly)
  }

  encode(state: ModelDeviceState, into: ByteWriter): void {
    encodeWindows(state, into)
  }

  /** Throws InvalidInputError or StoreError on bytes of an unknown version or shape: the caller starts the device afresh. */
  decode(bytes: Uint8Array, version: number): ModelDeviceState {
    return decodeWindows(bytes, version, this.stateVersion)
  }

  /** Windows of models that no longer serve go; what they had raised is over. */
  #keepServed(state: ModelDeviceState, served: readonly ServedModel[], reading: LoggedReading, out: OperatorOutput): void {
    if (state.windows.every(({ version }) => served.some(({ scorer }) => scorer.manifest.version === version))) return
    for (const window of state.windows) {
      const stays = served.some(({ scorer }) => scorer.manifest.version === window.version)
      if (stays || window.raised === null || window.inShadow) continue
      const { severity } = window.raised
      const explanation = modelClearedExplanation(null, window.version, window.seen)
      if (out.isFresh !== false) this.#emissions.push(anomalyOf(state, reading, { phase: 'cleared', score: 0, severity, explanation }))
    }
    state.windows = state.windows.filter(({ version }) => served.some(({ scorer }) => scorer.manifest.version === version))
  }

  #enqueue(model: ServedModel, state: ModelDeviceState, window: DeviceWindow, reading: LoggedReading, isFresh: boolean): void {
    let batch = this.#batches.get(model)
    if (batch === undefined) {
      batch = { model, waiting: [], windows: new Float32Array(BATCH_ROWS * model.scorer.width) }
      this.#batches.set(model, batch)
    }
    batch.windows.set(window.figures, batch.waiting.length * model.scorer.width)
    const { ts, receivedAt, partition, offset, correlationId } = reading
    batch.waiting.push({ state, window, at: { ts, receivedAt, partition, offset, correlationId }, isFresh, seen: window.seen })
    if (batch.waiting.length === BATCH_ROWS) this.#score(batch)
  }

  /** A model that fails leaves its rows unscored: readings go on. */
  #score(batch: Batch): void {
    const { model, waiting, windows } = batch
    const rows = waiting.splice(0)
    if (rows.length === 0) return
    const { clock, log } = this.#options
    const startedMs = clock.monotonicMs()
    const role = model.inShadow ? 'shadow' : 'serving'
    try {
      const scores = model.scorer.scores(windows, rows.length)
      rows.forEach((row, k) => this.#judge(model, row, scores[k] ?? 0, windows, k))
      this.#rows.inc({ role }, rows.length)
    } catch (error) {
      this.#failures.inc(rows.length)
      log.error({ model: model.scorer.manifest.version, error: describeError(error) }, 'a model did not score')
    }
    this.#seconds.observe((clock.monotonicMs() - startedMs) / 1_000)
  }

  #judge(model: ServedModel, row: Waiting, score: number, windows: Float32Array, place: number): void {
    const { scorer, inShadow, observed } = model
    const { window, at } = row
    const begin = place * scorer.width
    observe(observed, scorer.manifest, windows, begin + scorer.width, score)
    // A model in shadow that is promoted goes on with what it has seen; what it would have raised is raised by its next row.
    if (window.inShadow && !inShadow) window.raised = null
    const before = window.raised?.severity
    window.inShadow = inShadow
    const config = this.#policies.of(row.state, '', at.partition, at.offset)
    const phase = advance(window, score, at.ts, true, config)
    if (phase === 'none') return
    if (phase === 'raised' && before === undefined) {
      observed.alarms++
      this.#raised.inc({ role: inShadow ? 'shadow' : 'serving' })
    }
    if (inShadow || !row.isFresh) return
    const severity = phase === 'cleared' && before !== undefined ? before : severityOf(score, config)
    this.#emissions.push(
      anomalyOf(row.state, at, {
        phase,
        score,
        severity,
        explanation: this.#explain(model, row, score, windows.slice(begin, begin + scorer.width), phase),
      }),
    )
  }

  #explain(
    { scorer }: ServedModel,
    { seen, state, at }: Waiting,
    score: number,
    figures: Float32Array,
    phase: 'raised' | 'cleared',
  ): Anomaly['explanation'] {
    if (phase === 'cleared') return modelClearedExplanation(scorer, scorer.manifest.version, seen)
    const { alertThreshold } = this.#options.config
    const seed = `${state.tenant}/${state.device}/${at.ts}`
    return modelExplanation({ scorer, window: figures, score, seed, rowsSeen: seen, alertThreshold })
  }
}

const NO_WINDOWS: DeviceWindow[] = []

function windowOf(state: ModelDeviceState, { manifest }: Scorer): DeviceWindow {
  const held = state.windows.find(({ version }) => version === manifest.version)
  if (held !== undefined && held.figures.length === manifest.shape.metrics * manifest.shape.rows) return held
  const fresh = newWindow(manifest)
  state.windows = [...state.windows.filter(({ version }) => version !== manifest.version), fresh]
  return fresh
}

function anomalyOf(
  { tenant, device, type }: ModelDeviceState,
  { ts, receivedAt, partition, offset, correlationId }: Waiting['at'],
  particulars: Pick<Anomaly, 'phase' | 'score' | 'severity' | 'explanation'>,
): Anomaly {
  const place = JSON.stringify([tenant, device, 'model', particulars.explanation.detectorVersion, particulars.phase, ts, partition, offset])
  const id = createHash('sha256').update(place).digest('hex').slice(0, ID_CHARS)
  return { id, tenant, device, type, metric: '', cause: 'model', ...particulars, ts, receivedAt, partition, offset, correlationId }
}
