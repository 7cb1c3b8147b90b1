import type { Anomaly } from '../../contracts/anomaly.ts'
import type { AuditTrail } from '../../contracts/audit.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import type { StatementSigner } from '../../contracts/statement.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import { compareModels } from './comparison.ts'
import type { ModelsConfig } from './config.ts'
import { Labels } from './labels.ts'
import { LeaseHolder } from './lease.ts'
import type { ModelDesk } from './model-desk.ts'
import { modelId, viewOf, type ModelLine, type ModelStore, type StoredCard } from './model-store.ts'
import { loadScorer, type ModelServing } from './serving.ts'
import type { DatasetSources } from './training/dataset-sources.ts'
import { Trainer } from './training/trainer.ts'
import { firstTrainingDue, retrainingDue } from './watch/retraining.ts'
import { ModelWatcher } from './watch/model-watcher.ts'

export interface LearningOptions {
  documents: Documents
  eventLog: EventLog
  series: SeriesStore
  desk: ModelDesk
  serving: ModelServing
  auditTrail: AuditTrail
  signer: StatementSigner
  /** Threshold from which a score raises an anomaly. */
  alertThreshold: number
  devicesOf: DatasetSources['devicesOf']
  anomaliesOf: DatasetSources['anomaliesOf']
  /** Null where there is no such anomaly any more. */
  anomaly: (tenant: string, id: string) => Promise<Anomaly | null>
  config: ModelsConfig
  processId: string
  clock: Clock
  log: Logger
  metrics: Metrics
}

const LEASE_ID = 'learning'
/** How often a training that was asked for is looked for. */
const ASK_EVERY_MS = 1_000
/** A lease is renewed so many times before it would run out. */
const RENEWALS = 3
const CARDS_MAX = 1_000

/**
 * Trains what is asked for, asks for what is due, watches the models in use, and promotes a challenger that is better on the feedback. One
 * process at a time does that, by lease; another one takes it over, a training from its last epoch.
 */
export class Learning implements Service {
  readonly name = 'learning'
  readonly #options: LearningOptions
  readonly #store: ModelStore
  readonly #labels: Labels
  readonly #lease: LeaseHolder
  readonly #trainer: Trainer
  readonly #watcher: ModelWatcher
  readonly #stopping = new AbortController()
  #timers: Timer[] = []
  #training: Promise<void> | undefined
  #watching: Promise<void> = Promise.resolve()

  constructor(options: LearningOptions) {
    this.#options = options
    const { desk, documents, series, devicesOf, anomaliesOf, clock, config, processId } = options
    this.#store = desk.store
    this.#labels = new Labels(documents)
    const labelsOf = (tenant: string, type: string) => this.#labels.ofType(tenant, type)
    this.#lease = new LeaseHolder({ leases: () => this.#store.leases, id: LEASE_ID, holder: processId, leaseMs: config.leaseMs, clock })
    this.#trainer = new Trainer({ ...options, store: this.#store, sources: { series, devicesOf, anomaliesOf, labelsOf } })
    this.#watcher = new ModelWatcher({ ...options, store: this.#store, labelsOf })
  }

  async start(): Promise<void> {
    if (this.#timers.length > 0) return
    const { clock, config, log } = this.#options
    await this.#store.open()
    const report = (what: string) => (error: unknown) => log.warn({ error: describeError(error) }, what)
    this.#timers = [
      every(
        clock,
        Math.min(ASK_EVERY_MS, config.leaseMs / RENEWALS),
        () => this.#ask(),
        report('trainings could not be looked for; tried again'),
      ),
      every(clock, config.watchEveryMs, () => this.look(), report('the models could not be looked at; tried again')),
    ]
  }

  /** A training under way is left to whoever has the lease next, from its last epoch. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const timer of this.#timers) timer.cancel()
    this.#timers = []
    await Promise.allSettled([this.#training, this.#watching])
    await this.#lease.release().catch((error: unknown) => this.#options.log.debug({ error: describeError(error) }, 'lease left to run out'))
  }

  /** The training that is under way here, or the next one, to its end. */
  async #ask(): Promise<void> {
    if (!(await this.#lease.hold()) || this.#training !== undefined || this.#stopping.signal.aborted) return
    const [line] = await this.#store.allLines({ training: { $ne: null } })
    if (line === undefined) return
    const { log } = this.#options
    this.#training = this.#trainer
      .train(line, () => Promise.resolve(this.#lease.isHeld), this.#stopping.signal)
      .catch((error: unknown) => log.warn({ type: line.type, error: describeError(error) }, 'a training was cut off; it goes on'))
      .finally(() => (this.#training = undefined))
  }

  /** One look at every type that has models: figures, alerts, what is due. */
  look(): Promise<void> {
    this.#watching = this.#watching.catch(() => undefined).then(() => this.#look())
    return this.#watching
  }

  async #look(): Promise<void> {
    if (!this.#lease.isHeld && !(await this.#lease.hold())) return
    await this.#trainFirst()
    for (const line of await this.#store.allLines()) {
      if (this.#stopping.signal.aborted) return
      const cards = await this.#cardsOf(line)
      await this.#watcher.look(line, cards)
      await this.#promoteIfBetter(line)
      await this.#retrainIfDue(line, cards)
      await this.#forget(line, cards)
    }
  }

  /** Newest first. */
  #cardsOf({ tenant, type }: ModelLine): Promise<StoredCard[]> {
    return this.#store.cards.find({ tenant, type }, { sort: { number: -1 }, limit: CARDS_MAX })
  }

  /** Types that the configuration names and that have no model yet; one that there is not is told of, and looked for again the next time. */
  async #trainFirst(): Promise<void> {
    const { config, clock, desk, log } = this.#options
    for (const name of config.trainFirst) {
      const [type = '', tenant = DEFAULT_TENANT] = name.split('/').reverse()
      const line = await this.#store.line(tenant, type)
      const cards = await this.#store.cards.find({ tenant, type }, { sort: { number: -1 }, limit: CARDS_MAX })
      if (!firstTrainingDue({ line, cards, nowMs: clock.nowMs(), config })) continue
      try {
        const { id } = await desk.train(tenant, type, { by: 'system', trigger: 'schedule' })
        await this.#record(tenant, 'model.train', id, { trigger: 'schedule' })
      } catch (error) {
        log.warn({ type: name, error: describeError(error) }, 'a type that models.trainFirst names cannot be trained yet')
      }
    }
  }

  async #promoteIfBetter({ tenant, type, champion, challenger, shadowSince }: ModelLine): Promise<void> {
    const { config, clock, series, signer, serving, alertThreshold, desk } = this.#options
    const nowMs = clock.nowMs()
    if (challenger === null || !config.promoteItself || nowMs - shadowSince < config.shadowMs) return
    const labels = await this.#labels.ofType(tenant, type)
    const card = await this.#store.card(tenant, type, challenger)
    const compared = card.comparison
    const isNew = compared === null || compared.against !== champion || labels.some(({ updatedAt }) => updatedAt > compared.at)
    if (labels.length < config.labelsMin || card.state !== 'trained' || !isNew) return
    const keys = await signer.publicKeys()
    const load = (version: number) => loadScorer(this.#store, { tenant, type, version }, keys, () => serving.backend())
    const scorers = await Promise.all([load(challenger), champion === null ? null : load(champion)])
    try {
      const comparison = await compareModels(...scorers, labels, { series, alertThreshold, nowMs })
      await this.#store.changeCard(tenant, type, challenger, () => ({ comparison }))
      if (!comparison.better) return
      await desk.promote({ tenant, type, version: challenger }, 'system')
      await this.#record(tenant, 'model.promote', `${type}@${challenger}`, comparison)
    } finally {
      for (const scorer of scorers) scorer?.dispose()
    }
  }

  async #retrainIfDue(line: ModelLine, cards: readonly StoredCard[]): Promise<void> {
    const { config, clock, desk } = this.#options
    const { tenant, type } = line
    const trigger = retrainingDue({ line, cards, labels: await this.#labels.ofType(tenant, type), nowMs: clock.nowMs(), config })
    if (trigger === null) return
    const { id } = await desk.train(tenant, type, { by: 'system', trigger })
    await this.#record(tenant, 'model.train', id, { trigger })
  }

  /** Unused versions beyond the bound. */
  async #forget(line: ModelLine, cards: readonly StoredCard[]): Promise<void> {
    const unused = cards.filter((card) => !['serving', 'shadow', 'former', 'queued', 'training'].includes(viewOf(card, line).state))
    for (const { tenant, type, number } of unused.slice(this.#options.config.versionsKept)) {
      await this.#options.desk.retire({ tenant, type, version: number })
      await this.#store.cards.delete(modelId(tenant, type, number))
    }
  }

  async #record(tenant: string, action: string, id: string, after: unknown): Promise<void> {
    await this.#options.auditTrail.record({ tenant, actor: 'system', action, subject: { kind: 'model', id }, after })
  }
}
