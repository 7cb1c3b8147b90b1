import { createHash } from 'node:crypto'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { BrainFailure, ProviderKind } from './brain.ts'

/** That a provider takes nothing from us with these settings, and since when; of all processes. */
export interface StandingDocument {
  settings: string
  failure: BrainFailure
  detail: string
  since: number
}

export interface StandingOptions {
  documents: Documents
  clock: Clock
  kind: ProviderKind
  /** What somebody can change about it; only its hash is kept. */
  settings: { apiKey: string; baseUrl: string; model: string; reset: number }
  refreshMs: number
}

/** Whether a provider is switched off: its key was refused or its account is empty, and nobody changed its settings since. Survives restarts. */
export class Standing {
  readonly #options: StandingOptions
  readonly #settings: string
  #store: Collection<StandingDocument> | undefined
  #off: StandingDocument | null = null
  #readAtMs = -Infinity

  constructor(options: StandingOptions) {
    this.#options = options
    const { apiKey, baseUrl, model, reset } = options.settings
    this.#settings = createHash('sha256')
      .update(JSON.stringify([apiKey, baseUrl, model, reset]))
      .digest('hex')
  }

  /** As last read, for health and metrics. */
  get known(): StandingDocument | null {
    return this.#off
  }

  /** Why it is off, or null. Read anew when it was not for a while. */
  async off(): Promise<StandingDocument | null> {
    const { clock, kind, refreshMs } = this.#options
    if (clock.monotonicMs() - this.#readAtMs < refreshMs) return this.#off
    const stored = await (await this.#collection()).get(kind)
    this.#off = stored?.settings === this.#settings ? stored : null
    this.#readAtMs = clock.monotonicMs()
    return this.#off
  }

  async switchOff(failure: BrainFailure, detail: string): Promise<void> {
    const { clock, kind } = this.#options
    // Known here at once, and by the others once it is stored.
    this.#off = { settings: this.#settings, failure, detail, since: clock.nowMs() }
    this.#readAtMs = clock.monotonicMs()
    await (await this.#collection()).put(kind, this.#off)
  }

  async #collection(): Promise<Collection<StandingDocument>> {
    this.#store ??= await this.#options.documents.collection<StandingDocument>({ name: 'brain-standings', indexes: [] })
    return this.#store
  }
}
