import type { Gauge } from 'prom-client'
import type { Anomaly } from '../../../contracts/anomaly.ts'
import type { Feedback } from '../../../contracts/feedback.ts'
import type { ModelCheck, ModelWatch } from '../../../contracts/model.ts'
import type { StatementSigner } from '../../../contracts/statement.ts'
import { TOPICS } from '../../../contracts/topics.ts'
import { describeError, FleetpulseError } from '../../../kernel/errors.ts'
import type { Metrics } from '../../../kernel/metrics.ts'
import type { Clock } from '../../../kernel/time.ts'
import type { EventLog } from '../../../storage/event-log/event-log.ts'
import type { ModelsConfig } from '../config.ts'
import { MODEL_DETECTOR } from '../model-explanation.ts'
import { openModel, type ModelManifest } from '../model-file.ts'
import { modelId, type ModelLine, type ModelStore, type StoredCard } from '../model-store.ts'
import { modelAlert } from './model-alerts.ts'
import { CHART_MS, watchModel } from './watch.ts'

export interface ModelWatcherOptions {
  store: ModelStore
  eventLog: EventLog
  signer: StatementSigner
  labelsOf: (tenant: string, type: string) => Promise<readonly Feedback[]>
  anomaly: (tenant: string, id: string) => Promise<Anomaly | null>
  config: ModelsConfig
  clock: Clock
  metrics: Metrics
}

/** Judged anomalies that precision is told from: the latest. */
const JUDGED_MAX = 500
const HOURS_MAX = 5_000
const MANIFESTS_MAX = 1_000

/** Looks at the serving model of each type, keeps what it saw on its card, and raises or clears an alert of each check. */
export class ModelWatcher {
  readonly #options: ModelWatcherOptions
  readonly #gauges: Record<'input_drift' | 'score_drift' | 'precision' | 'age_seconds', Gauge<'type'>>
  readonly #alerts: Gauge<'check'>
  /** Manifests do not change: each is read once. */
  readonly #manifests = new Map<string, ModelManifest>()
  readonly #open = new Map<string, readonly string[]>()

  constructor(options: ModelWatcherOptions) {
    this.#options = options
    const { metrics } = options
    const gauge = (name: string, help: string) => metrics.gauge(name, help, ['type'])
    this.#gauges = {
      input_drift: gauge('models_input_drift_index', 'Stability index of the metric that drifted most, of the serving model'),
      score_drift: gauge('models_score_drift_index', "Stability index of the serving model's scores"),
      precision: gauge('models_precision_share', "Confirmed share of the serving model's judged anomalies"),
      age_seconds: gauge('models_age_seconds', 'Time since the serving model was trained'),
    }
    this.#alerts = metrics.gauge('models_open_alerts', 'Checks of models that have an alert open', ['check'])
  }

  /** `cards`: of this line, newest first. */
  async look(line: ModelLine, cards: readonly StoredCard[]): Promise<void> {
    const card = cards.find(({ number }) => number === line.champion)
    const manifest = card === undefined ? undefined : await this.#manifestOf(card)
    const watch = card === undefined || manifest === undefined ? null : await this.#watch(card, manifest)
    const wanted = new Map<ModelCheck, { version: number; why: string }>()
    for (const check of watch?.alerts ?? []) wanted.set(check, { version: card?.number ?? 0, why: '' })
    if (card?.state === 'refused') wanted.set('refused', { version: card.number, why: card.why ?? '' })
    const [latest] = cards
    if (latest?.state === 'failed' && line.training === null) wanted.set('training', { version: latest.number, why: latest.why ?? '' })
    await this.#alert(line, wanted, watch)
  }

  async #watch(card: StoredCard, manifest: ModelManifest): Promise<ModelWatch> {
    const { store, clock, config } = this.#options
    const { tenant, type, number, trainedAt } = card
    const nowMs = clock.nowMs()
    const model = modelId(tenant, type, number)
    await store.observed.deleteMany({ model, hour: { $lt: nowMs - CHART_MS - config.watchWindowMs } })
    const hours = await store.observed.find({ model }, { sort: { hour: -1 }, limit: HOURS_MAX })
    const { confirmed, rejected } = await this.#judged(card)
    const watch = watchModel({ manifest, hours, confirmed, rejected, trainedAt: trainedAt ?? nowMs, nowMs, config })
    await store.changeCard(tenant, type, number, () => ({ watch }))
    this.#gauges.input_drift.set({ type }, watch.inputDrift ?? 0)
    this.#gauges.score_drift.set({ type }, watch.scoreDrift ?? 0)
    this.#gauges.precision.set({ type }, watch.precision ?? 1)
    this.#gauges.age_seconds.set({ type }, watch.ageMs / 1_000)
    return watch
  }

  /** Judgements of anomalies that this version raised. */
  async #judged({ tenant, type, number }: StoredCard): Promise<{ confirmed: number; rejected: number }> {
    const counts = { confirmed: 0, rejected: 0 }
    const labels = (await this.#options.labelsOf(tenant, type)).filter(({ anomaly, metric }) => anomaly !== null && metric === '')
    for (const { anomaly: id, verdict } of labels.slice(0, JUDGED_MAX)) {
      const anomaly = id === null ? null : await this.#options.anomaly(tenant, id)
      const { detector, detectorVersion } = anomaly?.explanation ?? {}
      if (detector === MODEL_DETECTOR && detectorVersion === number) counts[verdict]++
    }
    return counts
  }

  /** Undefined where its file is refused: serving says so on the card. */
  async #manifestOf({ tenant, type, number }: StoredCard): Promise<ModelManifest | undefined> {
    const id = modelId(tenant, type, number)
    const held = this.#manifests.get(id)
    if (held !== undefined) return held
    const { store, signer } = this.#options
    try {
      const bytes = (await store.readFile(id)) ?? new Uint8Array(0)
      const { manifest } = await openModel(bytes, await signer.publicKeys(), { tenant, type, version: number })
      if (this.#manifests.size >= MANIFESTS_MAX) this.#manifests.clear()
      this.#manifests.set(id, manifest)
      return manifest
    } catch (error) {
      if (!(error instanceof FleetpulseError && error.code === 'MODEL_REFUSED')) throw error
      await store.changeCard(tenant, type, number, () => ({ state: 'refused', why: describeError(error) }))
      return undefined
    }
  }

  /** The message first, so that a crash between repeats it: the alert is the same. */
  async #alert(
    { tenant, type, alerts }: ModelLine,
    wanted: ReadonlyMap<ModelCheck, { version: number; why: string }>,
    watch: ModelWatch | null,
  ): Promise<void> {
    const { store, eventLog, clock } = this.#options
    const nowMs = clock.nowMs()
    const messages = [
      ...[...wanted]
        .filter(([check]) => !alerts.includes(check))
        .map(([check, { version, why }]) => modelAlert({ tenant, type, version, check, phase: 'raised', watch, why, nowMs })),
      ...alerts
        .filter((check) => !wanted.has(check as ModelCheck))
        .map((check) =>
          modelAlert({ tenant, type, version: 0, check: check as ModelCheck, phase: 'cleared', watch: null, why: '', nowMs }),
        ),
    ]
    this.#open.set(`${tenant}/${type}`, [...wanted.keys()])
    this.#alerts.reset()
    for (const checks of this.#open.values()) for (const check of checks) this.#alerts.inc({ check: check })
    if (messages.length === 0) return
    await eventLog.append(TOPICS.anomalies, messages)
    await store.changeLine(tenant, type, () => ({ alerts: [...wanted.keys()] }))
  }
}
