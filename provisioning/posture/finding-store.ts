import type { Finding, FindingSeverity, SecurityCheck } from '../../contracts/finding.ts'
import { InternalError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import type { Collection, Documents, Filter, Stored } from '../../storage/documents/documents.ts'
import { findingId, rankOf, type Found } from './found.ts'

export interface FindingDocument extends Finding {
  /** 0 for the worst: lists are in this order. */
  rank: number
  /** An alert is open for it. */
  alerted: boolean
}
export type StoredFinding = FindingDocument & Stored

/** One night's check, or one on demand. */
export interface PostureRun {
  /** Day since 1970, UTC, for the nightly one; -1 otherwise. */
  day: number
  by: string
  startedAt: number
  finishedAt: number | null
  certificates: number
  open: number
}

export interface FindingQuery {
  tenant: string
  /** `open`: counts; `suppressed`: open, and does not count for now. */
  state?: 'open' | 'suppressed' | 'resolved'
  check?: SecurityCheck
  severity?: FindingSeverity
  device?: string
  limit: number
  after?: { rank: number; id: string }
}

/** Documents read at once. */
const PAGE = 200
const RUN_ID = 'last'
const NIGHT_ID = 'night'

/** Findings and runs in the documents. Ids are `TENANT/FINDING`. */
export class FindingStore {
  readonly #documents: Documents
  #findings: Collection<FindingDocument> | undefined
  #runs: Collection<PostureRun> | undefined

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async open(): Promise<void> {
    this.#findings ??= await this.#documents.collection<FindingDocument>({
      name: 'findings',
      indexes: [
        { name: 'by-rank', paths: ['tenant', 'state', 'rank', 'id'] },
        { name: 'by-device', paths: ['tenant', 'device', 'state'] },
        { name: 'by-sight', paths: ['state', 'lastSeenAt'] },
      ],
    })
    this.#runs ??= await this.#documents.collection<PostureRun>({ name: 'posture-runs', indexes: [] })
  }

  close(): void {
    this.#findings = undefined
    this.#runs = undefined
  }

  /** Opens it, opens it again, or notes that it is still there; suppression stays. */
  async see(found: Found, nowMs: number): Promise<StoredFinding> {
    const id = findingId(found)
    const key = `${found.tenant}/${id}`
    for (;;) {
      const before = await this.#opened.get(key)
      if (before === null) {
        const document = { ...found, id, rank: rankOf(found.severity), ...NEW, firstSeenAt: nowMs, lastSeenAt: nowMs }
        const inserted = await this.#opened.insert(key, document)
        if (inserted.status === 'written') return inserted.document
        continue
      }
      const again = before.state === 'resolved' ? { state: 'open', firstSeenAt: nowMs, resolvedAt: null } : {}
      const set = { ...found, rank: rankOf(found.severity), lastSeenAt: nowMs, ...again }
      const written = await this.#opened.update(key, { $set: set }, before.version)
      if (written.status === 'written') return written.document
    }
  }

  /** Open ones that the run of this time did not see. */
  async unseen(startedAt: number): Promise<StoredFinding[]> {
    return this.#opened.find({ state: 'open', lastSeenAt: { $lt: startedAt } }, { limit: PAGE })
  }

  /** Applies a change, if nobody changed it since it was read. */
  async change(finding: StoredFinding, set: Partial<FindingDocument>): Promise<StoredFinding | undefined> {
    const result = await this.#opened.update(finding._id, { $set: set }, finding.version)
    return result.status === 'written' ? result.document : undefined
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<StoredFinding> {
    const found = await this.#opened.get(`${tenant}/${id}`)
    if (found === null) throw new NotFoundError(`there is no finding ${id.slice(0, 64)}`)
    return found
  }

  /** Worst first. */
  async list(query: FindingQuery, nowMs: number): Promise<{ items: StoredFinding[]; next: { rank: number; id: string } | null }> {
    const { tenant, check, device, severity, after, limit } = query
    const conditions: Filter[] = [{ tenant }, ...stateFilter(query.state, nowMs)]
    if (check !== undefined) conditions.push({ check })
    if (device !== undefined) conditions.push({ device })
    if (severity !== undefined) conditions.push({ severity })
    if (after !== undefined) conditions.push({ $or: [{ rank: { $gt: after.rank } }, { rank: after.rank, id: { $gt: after.id } }] })
    const found = await this.#opened.find({ $and: conditions }, { sort: { rank: 1, id: 1 }, limit: limit + 1 })
    const items = found.slice(0, limit)
    const last = items.at(-1)
    return { items, next: found.length > limit && last !== undefined ? { rank: last.rank, id: last.id } : null }
  }

  /** Every finding of a tenant that counts. */
  async *counting(tenant: string, nowMs: number): AsyncGenerator<StoredFinding> {
    let after: FindingQuery['after']
    do {
      const page = await this.list({ tenant, state: 'open', limit: PAGE, ...(after === undefined ? {} : { after }) }, nowMs)
      yield* page.items
      after = page.next ?? undefined
    } while (after !== undefined)
  }

  /** Open findings whose alert is not as it should be, suppression having begun or ended. */
  async misalerted(nowMs: number): Promise<StoredFinding[]> {
    const ended = { alerted: false, suppressedUntil: { $lte: nowMs }, rank: { $lte: ALERTED_RANK_MAX } }
    const begun = { alerted: true, suppressedUntil: { $gt: nowMs } }
    return this.#opened.find({ $and: [{ state: 'open' }, { $or: [ended, begun] }] }, { limit: PAGE })
  }

  async forget(resolvedBefore: number): Promise<number> {
    return this.#opened.deleteMany({ state: 'resolved', lastSeenAt: { $lt: resolvedBefore }, resolvedAt: { $lt: resolvedBefore } })
  }

  /** Takes the night's check; false when another process has it. */
  async claimNight(day: number, nowMs: number, abandonedMs: number): Promise<boolean> {
    const claim: PostureRun = { day, by: 'system', startedAt: nowMs, finishedAt: null, certificates: 0, open: 0 }
    const last = await this.#runsOpened.get(NIGHT_ID)
    if (last === null) return (await this.#runsOpened.insert(NIGHT_ID, claim)).status === 'written'
    const isTaken = last.day >= day && (last.finishedAt !== null || nowMs - last.startedAt < abandonedMs)
    return !isTaken && (await this.#runsOpened.replace(NIGHT_ID, last.version, claim)).status === 'written'
  }

  async finish(run: PostureRun): Promise<void> {
    await this.#runsOpened.put(RUN_ID, run)
    if (run.day >= 0) await this.#runsOpened.put(NIGHT_ID, run)
  }

  async lastRun(): Promise<PostureRun | null> {
    return this.#runsOpened.get(RUN_ID)
  }

  get #opened(): Collection<FindingDocument> {
    if (this.#findings === undefined) throw new InternalError('findings are used before their start or after their stop')
    return this.#findings
  }
  get #runsOpened(): Collection<PostureRun> {
    if (this.#runs === undefined) throw new InternalError('findings are used before their start or after their stop')
    return this.#runs
  }
}

const NEW = { state: 'open', resolvedAt: null, suppressedUntil: 0, suppressedBy: null, suppressedWhy: null, alerted: false } as const
/** Critical and high ones open alerts. */
export const ALERTED_RANK_MAX = rankOf('high')

function stateFilter(state: FindingQuery['state'], nowMs: number): Filter[] {
  if (state === undefined) return []
  if (state === 'resolved') return [{ state }]
  return [{ state: 'open' }, { suppressedUntil: state === 'open' ? { $lte: nowMs } : { $gt: nowMs } }]
}

/** What others see of it. */
export function findingOf({ _id, version: _version, rank: _rank, alerted: _alerted, ...finding }: StoredFinding): Finding {
  return finding
}

/** Longest time for which a finding may be suppressed: it is to be thought about again. */
const SUPPRESSION_MS_MAX = 366 * 86_400_000

export function checkSuppression(until: number, nowMs: number): void {
  if (until > nowMs && until <= nowMs + SUPPRESSION_MS_MAX) return
  throw new InvalidInputError('until: it must lie in the future, and not more than a year ahead', { details: { field: 'until' } })
}
