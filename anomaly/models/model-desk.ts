import type { ModelCard } from '../../contracts/model.ts'
import { ConflictError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { ModelsConfig } from './config.ts'
import { formerWith, ModelStore, modelId, viewOf, type CardDocument, type ModelLine } from './model-store.ts'
import { checkpointName } from './training/kept-progress.ts'

export interface ModelDeskOptions {
  documents: Documents
  config: ModelsConfig
  /** Is there such a type of devices? */
  hasType: (tenant: string, type: string) => Promise<boolean>
  clock: Clock
}

export interface ModelQuery {
  tenant: string
  type?: string
  limit: number
  /** Last one of the page before. */
  after?: { type: string; version: number }
}

/** A version of a tenant, from `TYPE@VERSION`. */
export interface ModelName {
  tenant: string
  type: string
  version: number
}

/** What may be done with models; each act is one step, whichever process it is asked of. */
export class ModelDesk implements Service {
  readonly name = 'model-desk'
  readonly store: ModelStore
  readonly #options: ModelDeskOptions

  constructor(options: ModelDeskOptions) {
    this.#options = options
    this.store = new ModelStore(options.documents)
  }

  start(): Promise<void> {
    return this.store.open()
  }
  stop(): Promise<void> {
    return Promise.resolve()
  }

  /** By type, newest version first. */
  async list({ tenant, type, limit, after }: ModelQuery): Promise<{ items: ModelCard[]; more: boolean }> {
    const conditions: object[] = [{ tenant }, ...(type === undefined ? [] : [{ type }])]
    if (after !== undefined) conditions.push({ $or: [{ type: { $gt: after.type } }, { type: after.type, number: { $lt: after.version } }] })
    const found = await this.store.cards.find({ $and: conditions }, { sort: { type: 1, number: -1 }, limit: limit + 1 })
    const lines = new Map((await this.store.allLines({ tenant })).map((line) => [line.type, line]))
    return { items: found.slice(0, limit).map((card) => viewOf(card, lines.get(card.type) ?? null)), more: found.length > limit }
  }

  /** Throws NotFoundError. */
  async get({ tenant, type, version }: ModelName): Promise<ModelCard> {
    const card = await this.store.card(tenant, type, version)
    return viewOf(card, await this.store.line(tenant, type))
  }

  /** The signed file of a version. Throws NotFoundError. */
  async file({ tenant, type, version }: ModelName): Promise<Uint8Array> {
    const { state } = await this.store.card(tenant, type, version)
    const bytes = await this.store.readFile(modelId(tenant, type, version))
    if (bytes === null) throw new NotFoundError(`there is no file of model ${type}@${version}: it is ${state}`)
    return bytes
  }

  /** Asks for a new version. Throws NotFoundError for an unknown type, ConflictError MODEL_TRAINING while one is on its way. */
  async train(tenant: string, type: string, order: { by: string; trigger: ModelCard['trigger']; seed?: number }): Promise<ModelCard> {
    const { clock, config, hasType } = this.#options
    if (!(await hasType(tenant, type)))
      throw new NotFoundError(`there is no device type ${type}`, { remedy: 'GET /device-types lists them.' })
    const { lastVersion: number } = await this.store.changeLine(tenant, type, ({ training, lastVersion }) => {
      if (training !== null) throw underWay(type, training)
      return { training: lastVersion + 1, lastVersion: lastVersion + 1 }
    })
    const card: CardDocument = {
      ...{ id: `${type}@${number}`, tenant, type, number, state: 'queued', cancelAsked: false, why: null },
      ...{ trigger: order.trigger, askedBy: order.by, askedAt: clock.nowMs(), seed: order.seed ?? config.seed },
      progress: { epoch: 0, epochsMax: config.epochsMax, loss: null, trainedMs: 0 },
      ...{ trainedAt: null, dataset: null, figures: null, promotedBy: null, promotedAt: null, comparison: null, watch: null },
    }
    await this.store.cards.put(modelId(tenant, type, number), card)
    await this.#orderAgain({ tenant, type, version: number })
    return this.get({ tenant, type, version: number })
  }

  /** Ends a training after its present epoch. Throws ConflictError where nothing is on its way. */
  async cancel(name: ModelName): Promise<ModelCard> {
    const { tenant, type, version } = name
    await this.store.changeCard(tenant, type, version, ({ state }) => {
      if (state !== 'queued' && state !== 'training') throw notIn(name, state, 'only a training can be cancelled')
      return { cancelAsked: true }
    })
    return this.get(name)
  }

  /** A training that was cancelled or failed goes on from its last epoch, if its readings are still there; otherwise it begins again. */
  async resume(name: ModelName): Promise<ModelCard> {
    const { tenant, type, version } = name
    const { state } = await this.store.card(tenant, type, version)
    if (state !== 'cancelled' && state !== 'failed') throw notIn(name, state, 'only a cancelled or failed training can go on')
    await this.store.changeLine(tenant, type, ({ training }) => {
      if (training !== null) throw underWay(type, training)
      return { training: version }
    })
    await this.store.changeCard(tenant, type, version, () => ({ state: 'queued', cancelAsked: false, why: null }))
    await this.#orderAgain(name)
    return this.get(name)
  }

  /** Whoever trains may have looked between line and card, and given up an order without one: then it is given once more. */
  async #orderAgain({ tenant, type, version }: ModelName): Promise<void> {
    const line = await this.store.changeLine(tenant, type, ({ training }) => (training === null ? { training: version } : {}))
    if (line.training === version || line.training === null) return
    await this.store.changeCard(tenant, type, version, () => ({
      state: 'cancelled',
      why: 'another training was asked for at the same time',
    }))
    throw underWay(type, line.training)
  }

  /** It serves from now on; what served is one step away. Throws ConflictError where it cannot serve. */
  async promote(name: ModelName, by: string): Promise<ModelCard> {
    const { tenant, type, version } = name
    const { state } = await this.store.card(tenant, type, version)
    if (state !== 'trained') throw notIn(name, state, 'only a trained model can serve')
    await this.store.changeLine(tenant, type, (line) => {
      if (line.champion === version) throw new ConflictError(`${type}@${version} serves already`, { remedy: 'Nothing is left to do.' })
      return {
        champion: version,
        challenger: line.challenger === version ? null : line.challenger,
        former: formerWith(line, line.champion).filter((each) => each !== version),
      }
    })
    await this.store.changeCard(tenant, type, version, () => ({ promotedBy: by, promotedAt: this.#options.clock.nowMs() }))
    return this.get(name)
  }

  /** The model that served before serves again. Throws ConflictError where this one does not serve, or none did before. */
  async rollBack(name: ModelName): Promise<ModelCard> {
    const { tenant, type, version } = name
    const { champion } = await this.store.changeLine(tenant, type, (line) => {
      const former = line.former.at(-1)
      if (line.champion !== version)
        throw new ConflictError(`${type}@${version} does not serve`, { remedy: 'Roll the serving version back.' })
      if (former === undefined)
        throw new ConflictError(`no model of ${type} served before ${version}`, { remedy: 'Retire it, and none serves.' })
      return { champion: former, former: line.former.slice(0, -1) }
    })
    return this.get({ tenant, type, version: champion ?? version })
  }

  /** It is used no more, and its file is removed. Throws ConflictError while it is on its way. */
  async retire(name: ModelName): Promise<ModelCard> {
    const { tenant, type, version } = name
    const { state } = await this.store.card(tenant, type, version)
    if (state === 'queued' || state === 'training') throw notIn(name, state, 'cancel its training first')
    await this.store.changeLine(tenant, type, (line) => withoutVersion(line, version))
    await this.store.changeCard(tenant, type, version, () => ({ state: 'retired' }))
    await this.store.removeFile(modelId(tenant, type, version))
    await this.store.removeFile(checkpointName(tenant, type, version))
    return this.get(name)
  }
}

/** Throws InvalidInputError for what names no version. */
export function modelNameOf(tenant: string, id: string): ModelName {
  const [, type, version] = /^(.+)@([1-9]\d{0,8})$/.exec(id) ?? []
  if (type === undefined)
    throw new InvalidInputError(`"${id.slice(0, 100)}" names no model`, { remedy: 'Use TYPE@VERSION, for instance pump@3.' })
  return { tenant, type, version: Number(version) }
}

function withoutVersion({ champion, challenger, former }: ModelLine, version: number): Partial<ModelLine> {
  return {
    champion: champion === version ? null : champion,
    challenger: challenger === version ? null : challenger,
    former: former.filter((each) => each !== version),
  }
}

function underWay(type: string, version: number): ConflictError {
  return new ConflictError(`${type}@${version} is being trained`, { code: 'MODEL_TRAINING', remedy: 'Wait for it, or cancel it.' })
}

function notIn({ type, version }: ModelName, state: string, what: string): ConflictError {
  return new ConflictError(`${type}@${version} is ${state}: ${what}`, {
    code: 'MODEL_STATE',
    remedy: 'Look at its card for what can be done with it.',
  })
}
