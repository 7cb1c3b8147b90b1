import type { Principal } from '../../contracts/authorisation.ts'
import { ConflictError, InternalError, NotFoundError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { participantOf } from '../access/rights.ts'
import type { Match } from './condition.ts'
import type { ProactiveConfig } from './config.ts'
import {
  FIRINGS_COLLECTION,
  firingOf,
  shown,
  triggerOf,
  type Firing,
  type FiringDocument,
  type StoredFiring,
  type Verdict,
} from './firing.ts'
import { qualityOf, type Quality } from './quality.ts'
import type { ProactiveRule } from './rule.ts'

const HOUR_MS = 3_600_000
const RATING_TRIES_MAX = 20
/** Firings whose ratings are counted, and that are looked at per tenant. */
const FIRINGS_MAX = 10_000

export interface FiringsOptions {
  documents: Documents
  clock: Clock
  config: ProactiveConfig
}

/** Triggers that fired. Which of several processes fires decides the insert of the firing; what it begins has its id. */
export class Firings implements Service {
  readonly name = 'firings'
  readonly #options: FiringsOptions
  #firings: Collection<FiringDocument> | undefined

  constructor(options: FiringsOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#firings ??= await this.#options.documents.collection<FiringDocument>(FIRINGS_COLLECTION)
  }
  async stop(): Promise<void> {
    this.#firings = undefined
  }

  /** What is seen of a pattern: begins a firing where it is new, and its cooldown is over. Null: there is nothing to begin. */
  async see(tenant: string, rule: ProactiveRule, match: Match): Promise<StoredFiring | null | 'too-many'> {
    const { clock, config } = this.#options
    const firings = this.#opened()
    const nowMs = clock.nowMs()
    const [last] = await firings.find({ trigger: triggerOf(tenant, rule.id, match.key) }, { sort: { generation: -1 }, limit: 1 })
    if (last?.state === 'fired') {
      // Not at each look: only so that it does not seem to be over.
      if (nowMs - last.lastSeenAt > config.overMs / 3) await firings.update(last._id, { $set: { lastSeenAt: nowMs } }, last.version)
      return null
    }
    if (last !== undefined && nowMs - last.firedAt < rule.cooldownMs) return null
    if ((await firings.count({ tenant, firedAt: { $gt: nowMs - HOUR_MS } })) >= config.firingsPerHourMax) return 'too-many'
    const firing = firingOf(tenant, rule, match, (last?.generation ?? 0) + 1, nowMs)
    const result = await firings.insert(firing.id, firing)
    return result.status === 'written' ? result.document : null
  }

  /** Fired, and nobody knows whether what it begins was begun. */
  pending(limit: number): Promise<StoredFiring[]> {
    return this.#opened().find({ isBegun: false }, { limit })
  }

  async begun(id: string): Promise<void> {
    await this.#opened().update(id, { $set: { isBegun: true } })
  }

  /** Those of these rules whose pattern was not seen for a while are over. */
  async settle(tenant: string, rules: readonly string[]): Promise<StoredFiring[]> {
    const { clock, config } = this.#options
    const firings = this.#opened()
    const nowMs = clock.nowMs()
    const filter = { tenant, state: 'fired', rule: { $in: [...rules] }, lastSeenAt: { $lt: nowMs - config.overMs } }
    const over: StoredFiring[] = []
    for (const { _id, version } of await firings.find(filter, { limit: FIRINGS_MAX })) {
      const result = await firings.update(_id, { $set: { state: 'over', overAt: nowMs } }, version)
      if (result.status === 'written') over.push(result.document)
    }
    await firings.deleteMany({ state: 'over', firedAt: { $lt: nowMs - config.firingsKeptMs } })
    return over
  }

  async ofConversation(tenant: string, conversation: string): Promise<StoredFiring | null> {
    const [found] = await this.#opened().find({ conversation }, { limit: 1 })
    return found?.tenant === tenant ? found : null
  }

  /** Newest first; `before`: of the last page. */
  async list(tenant: string, limit: number, before?: number): Promise<Firing[]> {
    const filter = { tenant, ...(before === undefined ? {} : { firedAt: { $lt: before } }) }
    return (await this.#opened().find(filter, { sort: { firedAt: -1 }, limit })).map(shown)
  }

  /** What somebody says of it; the last word stands. Throws NotFoundError. */
  async rate(principal: Principal, id: string, said: Verdict): Promise<Firing> {
    const firings = this.#opened()
    for (let attempt = 0; attempt < RATING_TRIES_MAX; attempt++) {
      const stored = await firings.get(id)
      if (stored === null || stored.tenant !== principal.tenant) throw new NotFoundError(`nothing was begun with id ${id}`)
      const rating = { ...said, by: participantOf(principal), at: this.#options.clock.nowMs() }
      const result = await firings.update(id, { $set: { rating } }, stored.version)
      if (result.status === 'written') return shown(result.document)
    }
    throw new ConflictError(`${id} was changed by others at every try`, { retryable: true, remedy: 'Try again.' })
  }

  async quality(tenant: string): Promise<Quality> {
    const firings = this.#opened()
    const rated = await firings.find({ tenant, rating: { $ne: null } }, { sort: { firedAt: -1 }, limit: FIRINGS_MAX })
    return qualityOf(await firings.count({ tenant }), rated)
  }

  #opened(): Collection<FiringDocument> {
    if (this.#firings === undefined) throw new InternalError('firings are used before their start or after their stop')
    return this.#firings
  }
}
