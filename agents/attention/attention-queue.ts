import { score, selectNext, type Dialogue, type SiteCredit, type SiteWeight } from './attention.ts'

export interface AttentionQueueLimits {
  /** Dialogues that it holds; the rest waits in the store. */
  dialoguesMax: number
  starvingMs: number
  siteWeights: readonly { site: string; weight: number }[]
}

/** Dialogues that wait for a turn in this process, and whose turn it is. Full, it gives the least important one back to the store. */
export class AttentionQueue<D extends Dialogue> {
  readonly #limits: AttentionQueueLimits
  readonly #weightOf: SiteWeight
  readonly #waiting = new Map<string, D>()
  #credits: SiteCredit[] = []

  constructor(limits: AttentionQueueLimits) {
    this.#limits = limits
    const weights = new Map(limits.siteWeights.map(({ site, weight }) => [site, weight]))
    this.#weightOf = (site) => weights.get(site) ?? 1
  }

  get size(): number {
    return this.#waiting.size
  }
  get credits(): readonly SiteCredit[] {
    return this.#credits
  }
  /** Those that wait, in no order. */
  values(): IterableIterator<D> {
    return this.#waiting.values()
  }

  /** What sites had saved before a restart. */
  restore(credits: readonly SiteCredit[]): void {
    this.#credits = [...credits]
  }

  /** Takes it in, or anew as it is now. One that is less important than all others is not taken where it is full. */
  put(dialogue: D, nowMs: number): void {
    const { conversation } = dialogue
    if (!this.#waiting.has(conversation) && this.#waiting.size >= this.#limits.dialoguesMax) {
      let least = dialogue
      for (const each of this.#waiting.values()) if (score(each, nowMs) < score(least, nowMs)) least = each
      if (least === dialogue) return
      this.#waiting.delete(least.conversation)
    }
    this.#waiting.set(conversation, dialogue)
  }

  delete(conversation: string): void {
    this.#waiting.delete(conversation)
  }

  clear(): void {
    this.#waiting.clear()
  }

  /** Takes out whose turn it is, of those that are free; null: none is. */
  next(isFree: (dialogue: D) => boolean, nowMs: number): D | null {
    const free = [...this.#waiting.values()].filter(isFree)
    const { starvingMs } = this.#limits
    const chosen = selectNext(free, this.#credits, nowMs, { starvingMs, weightOf: this.#weightOf })
    if (chosen === null) return null
    this.#credits = chosen.credits
    this.#waiting.delete(chosen.dialogue.conversation)
    return chosen.dialogue
  }
}
