import { createHash } from 'node:crypto'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { ProviderKind } from './brain.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

/** What one provider may still be asked, of all processes together. */
export interface AllowanceDocument {
  /** Left in the minute's bucket, which fills by itself; below 0 when more was used than reserved. */
  requests: number
  tokens: number
  /** Up to when both were filled, epoch ms. */
  filledAt: number
  /** Days since the epoch, UTC. */
  day: number
  dayTokens: number
}

/** What one site has taken of a provider today. */
interface SiteDocument {
  /** Days since the epoch, UTC. */
  day: number
  dayTokens: number
}

/** Whose incident it is: budgets of a day are of each site too. */
export interface Place {
  tenant: string
  /** Empty: devices without a place, which are a site of their own. */
  site: string
}

export interface AllowanceLimits {
  requestsPerMinute: number
  tokensPerMinute: number
  tokensPerDay: number
  tokensPerDayPerSite: number
  casAttemptsMax: number
}

export type Reserved =
  | { status: 'reserved'; tokens: number; day: number }
  | { status: 'rate-limited'; retryAfterMs: number }
  | { status: 'budget-exhausted'; retryAfterMs: number }

export interface AllowancesOptions {
  documents: Documents
  clock: Clock
  limits: AllowanceLimits
}

/**
 * Requests and tokens a minute, and tokens a day, of each provider, shared by all processes through compare-and-set. What a request may take is
 * reserved before it goes out and settled by what it took; a process that dies in between leaves its reservation as taken.
 */
export class Allowances {
  readonly #options: AllowancesOptions
  #store: Collection<AllowanceDocument> | undefined
  #sites: Collection<SiteDocument> | undefined

  constructor(options: AllowancesOptions) {
    this.#options = options
  }

  /** Of the site's day first, then of the provider; what the provider has not is the site's again. */
  async reserve(kind: ProviderKind, tokens: number, place: Place): Promise<Reserved> {
    const ofSite = await this.#takeOfSite(kind, place, tokens)
    if (ofSite.status !== 'reserved') return ofSite
    const reserved = await this.#reserve(kind, tokens)
    if (reserved.status !== 'reserved') await this.#takeOfSite(kind, place, -tokens)
    return reserved
  }

  /** Takes tokens of a site's day; less than none gives them back. */
  async #takeOfSite(kind: ProviderKind, place: Place, tokens: number): Promise<Reserved> {
    const { limits, clock, documents } = this.#options
    this.#sites ??= await documents.collection<SiteDocument>({ name: 'brain-site-budgets', indexes: [] })
    const id = siteId(kind, place)
    for (let attempt = 0; attempt < limits.casAttemptsMax; attempt++) {
      const day = Math.floor(clock.nowMs() / DAY_MS)
      const stored = await this.#sites.get(id)
      const taken = stored !== null && stored.day >= day ? stored.dayTokens : 0
      if (tokens > 0 && taken + tokens > limits.tokensPerDayPerSite) {
        return { status: 'budget-exhausted', retryAfterMs: (day + 1) * DAY_MS - clock.nowMs() }
      }
      const next = { day: Math.max(day, stored?.day ?? 0), dayTokens: Math.max(0, taken + tokens) }
      const written = await (stored === null ? this.#sites.insert(id, next) : this.#sites.replace(id, stored.version, next))
      if (written.status === 'written') return { status: 'reserved', tokens, day }
    }
    return { status: 'rate-limited', retryAfterMs: MINUTE_MS / limits.requestsPerMinute }
  }

  async #reserve(kind: ProviderKind, tokens: number): Promise<Reserved> {
    const { limits, clock } = this.#options
    const { requestsPerMinute, tokensPerMinute, tokensPerDay } = limits
    // Too many others at the same document: as if the minute were used up.
    const busy: Reserved = { status: 'rate-limited', retryAfterMs: MINUTE_MS / requestsPerMinute }
    const said: { answer: Reserved } = { answer: busy }
    const isWritten = await this.#change(kind, (allowance) => {
      if (allowance.dayTokens + tokens > tokensPerDay) {
        said.answer = { status: 'budget-exhausted', retryAfterMs: (allowance.day + 1) * DAY_MS - clock.nowMs() }
        return null
      }
      const lacksMs = Math.max(
        ((1 - allowance.requests) / requestsPerMinute) * MINUTE_MS,
        ((Math.min(tokens, tokensPerMinute) - allowance.tokens) / tokensPerMinute) * MINUTE_MS,
      )
      if (lacksMs > 0) {
        said.answer = { status: 'rate-limited', retryAfterMs: Math.ceil(lacksMs) }
        return null
      }
      said.answer = { status: 'reserved', tokens, day: allowance.day }
      const { requests, tokens: left, dayTokens } = allowance
      return { ...allowance, requests: requests - 1, tokens: left - tokens, dayTokens: dayTokens + tokens }
    })
    return isWritten || said.answer.status !== 'reserved' ? said.answer : busy
  }

  /** Gives back what was not used, or takes what was used beyond it. Another day's reservation is that day's. */
  async settle(kind: ProviderKind, reserved: { tokens: number; day: number }, usedTokens: number, place: Place): Promise<void> {
    const unused = reserved.tokens - usedTokens
    if (unused === 0) return
    if (reserved.day === Math.floor(this.#options.clock.nowMs() / DAY_MS)) await this.#giveBack(kind, place, unused)
    await this.#change(kind, (allowance) => ({
      ...allowance,
      tokens: Math.min(this.#options.limits.tokensPerMinute, allowance.tokens + unused),
      dayTokens: allowance.day === reserved.day ? Math.max(0, allowance.dayTokens - unused) : allowance.dayTokens,
    }))
  }

  /** What was used beyond the reservation is taken, even where the site has no more. */
  async #giveBack(kind: ProviderKind, place: Place, tokens: number): Promise<void> {
    const sites = this.#sites
    const id = siteId(kind, place)
    for (let attempt = 0; attempt < this.#options.limits.casAttemptsMax; attempt++) {
      const stored = await sites?.get(id)
      if (sites === undefined || stored === null || stored === undefined) return
      const next = { day: stored.day, dayTokens: Math.max(0, stored.dayTokens - tokens) }
      if ((await sites.replace(id, stored.version, next)).status === 'written') return
    }
  }

  /** Tokens that a site has left today. */
  async leftOfSite(kind: ProviderKind, place: Place): Promise<number> {
    const { limits, clock } = this.#options
    const stored = (await this.#sites?.get(siteId(kind, place))) ?? null
    const isToday = stored !== null && stored.day >= Math.floor(clock.nowMs() / DAY_MS)
    return Math.max(0, limits.tokensPerDayPerSite - (isToday ? stored.dayTokens : 0))
  }

  /** Tokens left today. */
  async left(kind: ProviderKind): Promise<number> {
    const stored = await (await this.#collection()).get(kind)
    return Math.max(0, this.#options.limits.tokensPerDay - this.#filled(stored).dayTokens)
  }

  async #change(kind: ProviderKind, to: (allowance: AllowanceDocument) => AllowanceDocument | null): Promise<boolean> {
    const store = await this.#collection()
    for (let attempt = 0; attempt < this.#options.limits.casAttemptsMax; attempt++) {
      const stored = await store.get(kind)
      const next = to(this.#filled(stored))
      if (next === null) return false
      const written = await (stored === null ? store.insert(kind, next) : store.replace(kind, stored.version, next))
      if (written.status === 'written') return true
    }
    return false
  }

  /** As it is now: the minute's buckets filled up, another day begun. */
  #filled(stored: AllowanceDocument | null): AllowanceDocument {
    const { limits, clock } = this.#options
    const { requestsPerMinute, tokensPerMinute } = limits
    const nowMs = clock.nowMs()
    const day = Math.floor(nowMs / DAY_MS)
    if (stored === null) return { requests: requestsPerMinute, tokens: tokensPerMinute, filledAt: nowMs, day, dayTokens: 0 }
    // Another process's clock may be ahead of ours: time never runs backwards here.
    const passed = Math.max(0, nowMs - stored.filledAt) / MINUTE_MS
    const isSameDay = stored.day >= day
    return {
      requests: Math.min(requestsPerMinute, stored.requests + passed * requestsPerMinute),
      tokens: Math.min(tokensPerMinute, stored.tokens + passed * tokensPerMinute),
      filledAt: Math.max(stored.filledAt, nowMs),
      day: isSameDay ? stored.day : day,
      dayTokens: isSameDay ? stored.dayTokens : 0,
    }
  }

  async #collection(): Promise<Collection<AllowanceDocument>> {
    this.#store ??= await this.#options.documents.collection<AllowanceDocument>({ name: 'brain-allowances', indexes: [] })
    return this.#store
  }
}

/** A hash: what operators call a site is theirs. */
function siteId(kind: ProviderKind, { tenant, site }: Place): string {
  return `${kind}/${createHash('sha256')
    .update(JSON.stringify([tenant, site]))
    .digest('hex')}`
}
