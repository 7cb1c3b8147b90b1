import type { StatementSigner } from '../../../contracts/statement.ts'
import { describeError, FleetpulseError } from '../../../kernel/errors.ts'
import type { Logger } from '../../../kernel/log.ts'
import type { Metrics } from '../../../kernel/metrics.ts'
import type { Clock } from '../../../kernel/time.ts'
import { integerBetween, seededRandom } from '../../../kernel/random.ts'
import type { ModelsConfig } from '../config.ts'
import { MODEL_LAYOUT, sealModel, type ModelManifest } from '../model-file.ts'
import { modelId, type ModelLine, type ModelStore, type StoredCard } from '../model-store.ts'
import { withoutNames } from '../nameless.ts'
import { weightSizes, widthOf } from '../network.ts'
import { buildDataset, type BuiltDataset } from './dataset.ts'
import type { DatasetSources } from './dataset-sources.ts'
import { checkpointName, KeptProgress } from './kept-progress.ts'
import { Pace } from './pace.ts'
import { runTraining, type TrainingOutcome, type TrainingResult } from './training-run.ts'
import type { Checkpoint } from './training.ts'

export interface TrainerOptions {
  store: ModelStore
  sources: DatasetSources
  signer: StatementSigner
  config: ModelsConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** Windows kept with a model for its explanations. */
const BACKGROUNDS = 32

/** Takes a version from its asking to the shadow: dataset, training, signature. What was cut off goes on from its last epoch. */
export class Trainer {
  readonly #options: TrainerOptions
  readonly #ended
  readonly #seconds

  constructor(options: TrainerOptions) {
    this.#options = options
    this.#ended = options.metrics.counter('models_trainings_total', 'Trainings that ended, by outcome', ['outcome'])
    this.#seconds = options.metrics.counter('models_training_seconds_total', 'Time spent training')
  }

  /** Trains what the line says. `goOn` is asked after each epoch: false where another process has it by now, or this one is told to stop. */
  async train({ tenant, type, training: version }: ModelLine, goOn: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    if (version === null) return
    const { store, log } = this.#options
    const card = await store.cards.get(modelId(tenant, type, version))
    // It was asked for by a process that ended before it had written the card.
    if (card === null || !['queued', 'training'].includes(card.state)) {
      await this.#leave(tenant, type, version)
      return
    }
    try {
      if (card.cancelAsked) return await this.#end(card, { status: 'cancelled' })
      const built = await this.#dataset(card, signal)
      const outcome = await this.#run(card, built, goOn, signal)
      if (outcome.status === 'cancelled' && !(await store.card(tenant, type, version)).cancelAsked) return
      if (outcome.status === 'done') await this.#keep(card, built, outcome.result)
      else await this.#end(card, outcome)
    } catch (error) {
      if (signal.aborted) {
        log.debug({ model: `${type}@${version}`, error: describeError(error) }, 'a training was left to whoever goes on with it')
        return
      }
      if (error instanceof FleetpulseError && error.retryable) throw error
      log.warn({ model: `${type}@${version}`, error: describeError(error) }, 'a training failed')
      const remedy = error instanceof FleetpulseError && error.remedy !== undefined ? ` ${error.remedy}` : ''
      await this.#end(card, { status: 'failed', why: `${describeError(error)}.${remedy}` })
    }
  }

  async #dataset({ tenant, type, number, seed, dataset }: StoredCard, signal: AbortSignal): Promise<BuiltDataset> {
    const { config, sources, clock, store } = this.#options
    await store.changeCard(tenant, type, number, () => ({ state: 'training' }))
    // One that is gone on with reads the same time again; whether it is still the same readings, its sum tells.
    const pace = new Pace({ clock, share: config.trainingShare, workMs: config.trainingWorkMs, signal })
    const built = await buildDataset({ tenant, type, config, seed, nowMs: dataset?.readAt ?? clock.nowMs(), pace }, sources)
    // What was read of a device that was erased meanwhile does not bring its name back.
    await store.changeCard(tenant, type, number, ({ erasedMeanwhile = [] }) => ({
      dataset: withoutNames(built.dataset, erasedMeanwhile),
      erasedMeanwhile: [],
    }))
    return built
  }

  async #run(
    card: StoredCard,
    { windows, dataset }: BuiltDataset,
    goOn: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<TrainingOutcome> {
    const { store, config, clock } = this.#options
    const kept = new KeptProgress({ store, config, clock, card, sha256: dataset.sha256 })
    const from = await kept.read()
    const onEpoch = async (checkpoint: Checkpoint): Promise<boolean> => {
      const isAsked = await kept.reached(checkpoint)
      return !isAsked && (await goOn())
    }
    const outcome = await runTraining({
      ...{ backend: config.backend, windows, from, memoryMb: config.trainingMemoryMb, onEpoch, signal },
      ...{ share: config.trainingShare, workMs: config.trainingWorkMs, nice: config.trainingNice },
      options: { seed: card.seed, epochsMax: config.epochsMax, patienceEpochs: PATIENCE_EPOCHS },
      calibration: { quantile: config.thresholdQuantile, margin: config.thresholdMargin },
      timeMs: Math.max(1, config.trainingTimeMs - kept.spentMs),
    })
    this.#seconds.inc(kept.workedMs / 1_000)
    // Whoever has taken it over goes on from what was kept before; that is not written over.
    if (await goOn()) await kept.keepLast()
    return outcome
  }

  /** Signs the model, keeps its file, and puts it in shadow. */
  async #keep({ tenant, type, number, seed }: StoredCard, built: BuiltDataset, result: TrainingResult): Promise<void> {
    const { store, signer, config, clock, log } = this.#options
    const { windows, scales, spreads, gapMs, dataset } = built
    const { usual, threshold, beyond, scoreDeciles, scoreShares } = result.calibration
    const { shape } = windows
    const trainedAt = clock.nowMs()
    const backgrounds = drawnWindows(windows.learn, widthOf(shape), seed)
    const manifest: Omit<ModelManifest, 'sha256'> = {
      ...{ layout: MODEL_LAYOUT, tenant, type, version: number, trainedAt, seed, shape, everyMs: config.everyMs, gapMs },
      metrics: scales.map((scale, k) => ({
        ...scale,
        usual: usual[k] ?? 1,
        deciles: spreads[k]?.deciles ?? [],
        shares: spreads[k]?.shares ?? [],
      })),
      ...{ threshold, scoreDeciles, scoreShares, backgrounds: backgrounds.length / widthOf(shape), dataset: dataset.id },
    }
    const bytes = await sealModel(manifest, result.weights, backgrounds, signer)
    await store.writeFile(modelId(tenant, type, number), bytes)
    const figures = {
      ...{ threshold, beyond, loss: result.loss, bestEpoch: result.bestEpoch, backend: result.backend },
      ...{ weights: weightSizes(shape).reduce((sum, size) => sum + size, 0), windowRows: shape.rows, sizeBytes: bytes.length },
    }
    const why = result.inTime ? null : 'its time was over; this is the best until then'
    await store.changeCard(tenant, type, number, () => ({ state: 'trained', trainedAt, figures, why, erasedMeanwhile: [] }))
    // An earlier challenger makes place.
    await store.changeLine(tenant, type, ({ training }) =>
      training === number ? { training: null, challenger: number, shadowSince: trainedAt } : {},
    )
    await store.removeFile(checkpointName(tenant, type, number))
    this.#ended.inc({ outcome: 'done' })
    log.info({ model: `${type}@${number}`, rows: dataset.learnRows, epochs: result.epochs, threshold, beyond }, 'model trained, in shadow')
  }

  /** The checkpoint stays: it can be asked to go on. */
  async #end({ tenant, type, number }: StoredCard, outcome: Exclude<TrainingOutcome, { status: 'done' }>): Promise<void> {
    const why = outcome.status === 'failed' ? outcome.why : null
    await this.#options.store.changeCard(tenant, type, number, () => ({
      state: outcome.status,
      why,
      cancelAsked: false,
      erasedMeanwhile: [],
    }))
    await this.#leave(tenant, type, number)
    this.#ended.inc({ outcome: outcome.status })
  }

  async #leave(tenant: string, type: string, version: number): Promise<void> {
    await this.#options.store.changeLine(tenant, type, ({ training }) => (training === version ? { training: null } : {}))
  }
}

/** Ends when so many epochs in a row brought nothing. */
const PATIENCE_EPOCHS = 8

function drawnWindows(windows: Float32Array, width: number, seed: number): Float32Array {
  const random = seededRandom(`backgrounds/${seed}`)
  const count = Math.min(BACKGROUNDS, windows.length / width)
  const drawn = new Float32Array(count * width)
  for (let k = 0; k < count; k++) {
    const from = integerBetween(random, 0, windows.length / width - 1)
    drawn.set(windows.subarray(from * width, (from + 1) * width), k * width)
  }
  return drawn
}
