import type { PublicJwk } from '../../contracts/statement.ts'
import { describeError, FleetpulseError, InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { openBackend, type Backend } from './backend.ts'
import type { ModelsConfig } from './config.ts'
import { openModel } from './model-file.ts'
import type { ServedModel } from './model-operator.ts'
import { ModelStore, modelId, type ModelLine } from './model-store.ts'
import { addObserved, nothingObserved, type Observed } from './observations.ts'
import { Scorer } from './scorer.ts'

export interface ModelServingOptions {
  documents: Documents
  config: ModelsConfig
  /** Keys whose signatures count. */
  publicKeys: () => Promise<readonly PublicJwk[]>
  /** Of this process: its observations are apart from those of others. */
  processId: string
  clock: Clock
  log: Logger
  metrics: Metrics
}

const HOUR_MS = 3_600_000
const NOTHING: readonly ServedModel[] = []

/**
 * Keeps the models in use ready in this process: follows their roles, loads what serves and what is in shadow, and refuses files that are
 * damaged, unsigned or of another shape, in whose place the former model goes on. The library is loaded with the first model.
 */
export class ModelServing implements Service {
  readonly name = 'model-serving'
  readonly #options: ModelServingOptions
  readonly #store: ModelStore
  /** By tenant, then by type. */
  readonly #served = new Map<string, Map<string, readonly ServedModel[]>>()
  /** What was found of each line when it was last looked at. */
  readonly #seen = new Map<string, string>()
  #backend: Promise<Backend> | undefined
  #timer: Timer | undefined
  #refreshing: Promise<void> = Promise.resolve()
  readonly #loads

  constructor(options: ModelServingOptions) {
    this.#options = options
    this.#store = new ModelStore(options.documents)
    this.#loads = options.metrics.counter('models_loads_total', 'Models made ready in this process, or refused', ['outcome'])
    options.metrics.gaugeOf('models_served_models', 'Models that score in this process', () => this.#count())
  }

  /** Everything in use is ready when it resolves, so that what the road reads first is scored like the rest. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { clock, config, log } = this.#options
    await this.#store.open()
    await this.refresh()
    const onError = (error: unknown): void =>
      log.warn({ error: describeError(error) }, 'the models in use could not be looked at; tried again')
    this.#timer = every(clock, config.refreshMs, () => this.refresh(), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#refreshing.catch(() => undefined)
    if (this.#count() > 0) await this.#keepObservations()
    for (const types of this.#served.values()) for (const models of types.values()) for (const { scorer } of models) scorer.dispose()
    this.#served.clear()
    this.#seen.clear()
  }

  /** Hot path. */
  readonly served = (tenant: string, type: string): readonly ServedModel[] => this.#served.get(tenant)?.get(type) ?? NOTHING

  /** The library with its backend, for whoever compares models in this thread. */
  backend(): Promise<Backend> {
    this.#backend ??= openBackend(this.#options.config.backend).then((backend) => {
      this.#options.log.info({ backend: backend.name }, 'models are calculated')
      return backend
    })
    return this.#backend
  }

  /** One look at the roles; also keeps what was observed. One at a time. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.catch(() => undefined).then(() => this.#refresh())
    return this.#refreshing
  }

  async #refresh(): Promise<void> {
    if (this.#count() > 0) await this.#keepObservations()
    for (const line of await this.#store.allLines()) {
      const { tenant, type, champion, challenger, former } = line
      const now = JSON.stringify([champion, challenger, champion === null ? [] : former])
      const key = `${tenant}/${type}`
      if (this.#seen.get(key) === now) continue
      await this.#ready(line)
      this.#seen.set(key, now)
    }
  }

  /** The champion, or the latest of its predecessors whose file can be used; and the challenger. */
  async #ready(line: ModelLine): Promise<void> {
    const { tenant, type, champion, challenger } = line
    const before = this.served(tenant, type)
    const models: ServedModel[] = []
    if (champion !== null) {
      // What serves now goes on rather than one of before.
      const serving = before.find(({ inShadow }) => !inShadow)?.scorer.manifest.version
      const candidates = [champion, ...(serving === undefined ? [] : [serving]), ...line.former.toReversed()]
      const model = await this.#firstUsable(line, [...new Set(candidates)], false)
      if (model !== undefined) models.push(model)
    }
    if (challenger !== null && models.every(({ scorer }) => scorer.manifest.version !== challenger)) {
      const model = await this.#firstUsable(line, [challenger], true)
      if (model !== undefined) models.push(model)
    }
    let types = this.#served.get(tenant)
    if (types === undefined) this.#served.set(tenant, (types = new Map<string, readonly ServedModel[]>()))
    types.set(type, models)
    for (const old of before) if (models.every(({ scorer }) => scorer !== old.scorer)) old.scorer.dispose()
  }

  async #firstUsable(line: ModelLine, versions: readonly number[], inShadow: boolean): Promise<ServedModel | undefined> {
    for (const version of versions) {
      const model = await this.#usable(line, version, inShadow)
      if (model !== undefined) return model
    }
    return undefined
  }

  async #usable({ tenant, type }: ModelLine, version: number, inShadow: boolean): Promise<ServedModel | undefined> {
    const held = this.served(tenant, type).find(({ scorer }) => scorer.manifest.version === version)
    if (held !== undefined) return { ...held, inShadow }
    try {
      const scorer = await loadScorer(this.#store, { tenant, type, version }, await this.#options.publicKeys(), () => this.backend())
      this.#loads.inc({ outcome: 'loaded' })
      this.#options.log.info({ model: `${type}@${version}`, inShadow }, 'model ready')
      return { scorer, inShadow, observed: nothingObserved(scorer.manifest.metrics.length) }
    } catch (error) {
      if (!(error instanceof FleetpulseError && error.code === 'MODEL_REFUSED')) throw error
      this.#loads.inc({ outcome: 'refused' })
      this.#options.log.error({ model: `${type}@${version}`, error: describeError(error) }, 'model refused, the former one serves')
      await this.#store.changeCard(tenant, type, version, () => ({ state: 'refused', why: describeError(error) }))
      return undefined
    }
  }

  /** Adds what was seen since the last time to this hour's documents; what could not be written is added the next time. */
  async #keepObservations(): Promise<void> {
    const { clock, processId } = this.#options
    const hour = Math.floor(clock.nowMs() / HOUR_MS) * HOUR_MS
    for (const [tenant, types] of this.#served) {
      for (const [type, models] of types) {
        for (const { scorer, observed } of models) {
          if (observed.rows === 0) continue
          const model = modelId(tenant, type, scorer.manifest.version)
          const id = `${model}/${hour}/${processId}`
          const stored = await this.#store.observed.get(id)
          const taken = takeObserved(observed)
          const sum = nothingObserved(scorer.manifest.metrics.length)
          if (stored !== null) addObserved(sum, stored)
          addObserved(sum, taken)
          try {
            await this.#store.observed.put(id, { model, hour, ...sum })
          } catch (error) {
            addObserved(observed, taken)
            throw error
          }
        }
      }
    }
  }

  #count(): number {
    let count = 0
    for (const types of this.#served.values()) for (const models of types.values()) count += models.length
    return count
  }
}

/** Reads, checks and makes a model ready. Throws InvalidInputError MODEL_REFUSED. */
export async function loadScorer(
  store: ModelStore,
  wanted: { tenant: string; type: string; version: number },
  keys: readonly PublicJwk[],
  backend: () => Promise<Backend>,
): Promise<Scorer> {
  const bytes = await store.readFile(modelId(wanted.tenant, wanted.type, wanted.version))
  if (bytes === null) {
    throw new InvalidInputError("the model's file is refused: it is not there", {
      code: 'MODEL_REFUSED',
      remedy: 'The former model keeps serving. Train this one anew, or roll back.',
    })
  }
  const model = await openModel(bytes, keys, wanted)
  return new Scorer(await backend(), model)
}

/** What was counted so far, which then begins at 0. */
function takeObserved(observed: Observed): Observed {
  const taken = {
    rows: observed.rows,
    alarms: observed.alarms,
    scores: [...observed.scores],
    inputs: observed.inputs.map((bins) => [...bins]),
  }
  observed.rows = observed.alarms = 0
  observed.scores.fill(0)
  for (const bins of observed.inputs) bins.fill(0)
  return taken
}
