import type { Clock } from '../../../kernel/time.ts'
import type { ModelsConfig } from '../config.ts'
import { modelId, type ModelStore, type StoredCard } from '../model-store.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint-codec.ts'
import type { Checkpoint } from './training.ts'

export interface KeptProgressOptions {
  store: ModelStore
  config: Pick<ModelsConfig, 'checkpointEveryMs' | 'epochsMax'>
  clock: Clock
  card: StoredCard
  /** Of the windows: a checkpoint of others is none. */
  sha256: string
}

export function checkpointName(tenant: string, type: string, version: number): string {
  return `${modelId(tenant, type, version)}!checkpoint`
}

/**
 * What is kept of a training under way: its first epoch, then the latest one each `checkpointEveryMs`, and the last one that it reached. Each
 * keeping is three writes that reach the disk, which the road's own writes wait for.
 */
export class KeptProgress {
  readonly #options: KeptProgressOptions
  readonly #startedMs: number
  #keptMs = Number.NEGATIVE_INFINITY
  #unkept: Checkpoint | undefined
  /** Time that was spent before. */
  spentMs = 0

  constructor(options: KeptProgressOptions) {
    this.#options = options
    this.#startedMs = options.clock.monotonicMs()
  }

  /** Since this one began. */
  get workedMs(): number {
    return this.#options.clock.monotonicMs() - this.#startedMs
  }

  /** The checkpoint to go on from; null where there is none, or one of other readings. */
  async read(): Promise<Checkpoint | null> {
    const { store, card, sha256 } = this.#options
    const stored = await store.readFile(this.#name)
    const from = stored === null ? null : decodeCheckpoint(stored, sha256)
    this.spentMs = from === null ? 0 : card.progress.trainedMs
    return from
  }

  /** An epoch is done; answers whether somebody asked for its cancelling. */
  async reached(checkpoint: Checkpoint): Promise<boolean> {
    const { store, config, card, clock } = this.#options
    this.#unkept = checkpoint
    if (clock.monotonicMs() - this.#keptMs >= config.checkpointEveryMs) await this.keepLast()
    return (await store.card(card.tenant, card.type, card.number)).cancelAsked
  }

  /** Keeps the last epoch that was told of, unless it is kept. */
  async keepLast(): Promise<void> {
    const checkpoint = this.#unkept
    if (checkpoint === undefined) return
    const { store, config, clock, card, sha256 } = this.#options
    await store.writeFile(this.#name, encodeCheckpoint(sha256, checkpoint))
    const trainedMs = Math.round(this.spentMs + this.workedMs)
    const progress = { epoch: checkpoint.epoch, epochsMax: config.epochsMax, loss: checkpoint.losses.at(-1) ?? null, trainedMs }
    await store.changeCard(card.tenant, card.type, card.number, () => ({ progress }))
    this.#unkept = undefined
    this.#keptMs = clock.monotonicMs()
  }

  get #name(): string {
    const { tenant, type, number } = this.#options.card
    return checkpointName(tenant, type, number)
  }
}
