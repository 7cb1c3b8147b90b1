import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AUDIT_CHECKPOINT, type AuditCheckpoint, type AuditTrail } from '../../contracts/audit.ts'
import type { StatementSigner } from '../../contracts/statement.ts'
import { describeError, InternalError } from '../../kernel/errors.ts'
import { writeFileAtomically } from '../../kernel/files.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { EMPTY_CHAIN } from './chain.ts'
import { readHead } from './chain-writer.ts'
import { auditConfig, type AuditConfig } from './config.ts'
import { openAuditCollections, type AuditBlock, type AuditCollections, type StoredCheckpoint } from './documents.ts'

const HOUR_MS = 3_600_000
const TENANTS_MAX = 100_000
/** Newest checkpoint of every tenant, one line each, outside the documents store: with it, a trail that lost its end is noticed. */
export const CHECKPOINT_FILE = 'audit-checkpoints.jsonl'

export interface CheckpointsOptions {
  documents: Documents
  signer: StatementSigner
  trail: AuditTrail
  dataDirectory: string
  clock: Clock
  log: Logger
  auditConfig?: AuditConfig
}

/**
 * Signs the ends of the chains, and cuts what is too old behind a signed cut. Runs where the key is; several at once do no harm. Of an
 * hour's checkpoints the last one is kept, so that their number is bounded by the time that entries are.
 */
export class Checkpoints implements Service {
  readonly name = 'audit-checkpoints'
  readonly #options: CheckpointsOptions
  readonly #config: AuditConfig
  readonly #newest = new Map<string, StoredCheckpoint>()
  #collections: AuditCollections | undefined
  #timers: Timer[] = []
  #running: Promise<unknown> = Promise.resolve()

  constructor(options: CheckpointsOptions) {
    this.#options = options
    this.#config = options.auditConfig ?? auditConfig()
  }

  async start(): Promise<void> {
    if (this.#collections !== undefined) return
    const { clock, documents, log } = this.#options
    this.#collections = await openAuditCollections(documents)
    await this.#compareWithFile()
    await this.seal()
    const onError = (error: unknown): void =>
      log.error({ error: describeError(error) }, 'the audit trail was not sealed or cut; it is tried again')
    this.#timers = [
      every(clock, this.#config.checkpointIntervalMs, () => this.seal(), onError),
      every(clock, this.#config.retentionCheckMs, () => this.cut(), onError),
    ]
  }

  /** Signs the ends once more. */
  async stop(): Promise<void> {
    for (const timer of this.#timers.splice(0)) timer.cancel()
    if (this.#collections === undefined) return
    await this.seal().catch((error: unknown) =>
      this.#options.log.error({ error: describeError(error) }, 'the end of the audit trail was not signed'),
    )
    this.#collections = undefined
  }

  /** Signs the end of every chain that grew. */
  seal(): Promise<void> {
    return this.#next(() => this.#seal())
  }

  /** Removes entries that are too old or too many: signs the cut, then removes what lies before it. A removal cut short goes on the next time. */
  cut(): Promise<void> {
    return this.#next(() => this.#cut())
  }

  async #seal(): Promise<void> {
    const { blocks, checkpoints } = this.#require()
    let changed = false
    for (const tenant of await tenantsOf(blocks)) {
      const head = await readHead(blocks, tenant)
      if (head.seq === (this.#newest.get(tenant)?.seq ?? EMPTY_CHAIN.seq)) continue
      const stored = await this.#sign({ tenant, kind: 'head', ...head, at: this.#options.clock.nowMs() })
      const hour = Math.floor(stored.at / HOUR_MS) * HOUR_MS
      await checkpoints.deleteMany({ tenant, kind: 'head', seq: { $lt: head.seq }, at: { $gte: hour, $lt: hour + HOUR_MS } })
      this.#newest.set(tenant, stored)
      changed = true
    }
    if (changed) await this.#writeFile()
  }

  async #cut(): Promise<void> {
    const { blocks } = this.#require()
    for (const tenant of await tenantsOf(blocks)) {
      const last = await this.#lastToGo(tenant)
      if (last === undefined) continue
      await this.#sign({ tenant, kind: 'cut', seq: last.lastSeq, hash: last.lastHash, at: this.#options.clock.nowMs() })
      await this.#remove(tenant, last.lastSeq)
      const after = { throughSeq: last.lastSeq, throughHash: last.lastHash }
      await this.#options.trail.record({ tenant, actor: 'system', action: 'audit.cut', subject: { kind: 'audit', id: tenant }, after })
    }
  }

  /** The newest block that is too old, or beyond the number of entries that are kept; never the newest of all, which says where the chain ends. */
  async #lastToGo(tenant: string): Promise<AuditBlock | undefined> {
    const { blocks } = this.#require()
    const head = await readHead(blocks, tenant)
    const { entriesMax, retentionMs } = this.#config
    const [oldest] = await blocks.find({ tenant }, { sort: { firstSeq: 1 }, limit: 1 })
    const isDue =
      oldest !== undefined && (oldest.toAt < this.#options.clock.nowMs() - retentionMs || oldest.lastSeq <= head.seq - entriesMax)
    if (!isDue) return undefined
    // In front of the first block that stays: blocks are in the order of places, and nearly in that of time.
    const stays = { tenant, lastSeq: { $gt: head.seq - entriesMax }, toAt: { $gte: this.#options.clock.nowMs() - retentionMs } }
    const [first] = await blocks.find(stays, { sort: { firstSeq: 1 }, limit: 1 })
    const before = first?.firstSeq ?? head.seq + 1
    const [last, newer] = await blocks.find({ tenant, firstSeq: { $lt: before } }, { sort: { firstSeq: -1 }, limit: 2 })
    return last?.lastSeq === head.seq ? newer : last
  }

  /** Oldest first, so that what is left is always one piece. */
  async #remove(tenant: string, throughSeq: number): Promise<void> {
    const { blocks, checkpoints } = this.#require()
    for (;;) {
      const page = await blocks.find({ tenant, firstSeq: { $lte: throughSeq } }, { sort: { firstSeq: 1 }, limit: 50 })
      if (page.length === 0) break
      for (const { _id } of page) await blocks.delete(_id)
    }
    await checkpoints.deleteMany({ tenant, seq: { $lt: throughSeq } })
  }

  async #sign(checkpoint: AuditCheckpoint): Promise<StoredCheckpoint> {
    const { signer, log } = this.#options
    const stored = { ...checkpoint, jws: await signer.sign(AUDIT_CHECKPOINT, checkpoint) }
    await this.#require().checkpoints.put(`${checkpoint.tenant}/${checkpoint.kind}/${checkpoint.seq}`, stored)
    // Where logs are shipped elsewhere at this level, this is a witness that nobody here can take back.
    log.debug({ auditCheckpoint: stored.jws, tenant: stored.tenant, seq: stored.seq, kind: stored.kind }, 'audit trail sealed')
    return stored
  }

  async #writeFile(): Promise<void> {
    const lines = Array.from(this.#newest.values(), ({ jws }) => JSON.stringify({ kind: 'checkpoint', jws }))
    await writeFileAtomically(join(this.#options.dataDirectory, CHECKPOINT_FILE), `${lines.join('\n')}\n`, 0o644)
  }

  /** A trail that ends before what was signed in the last run lost entries: said loudly, and kept in the trail itself. */
  async #compareWithFile(): Promise<void> {
    const { blocks } = this.#require()
    const { dataDirectory, log, trail } = this.#options
    for (const { tenant, seq } of await readCheckpointFile(join(dataDirectory, CHECKPOINT_FILE), log)) {
      const head = await readHead(blocks, tenant)
      if (head.seq >= seq) continue
      log.error({ tenant, signedSeq: seq, lastSeq: head.seq }, 'the audit trail lost entries that were there in the last run')
      const why = `entries ${head.seq + 1} to ${seq} were signed and are no longer there`
      await trail.record({ tenant, actor: 'system', action: 'audit.loss', subject: { kind: 'audit', id: tenant }, outcome: 'failed', why })
    }
  }

  #next<T>(run: () => Promise<T>): Promise<T> {
    const next = this.#running.then(run, run)
    this.#running = next.catch(() => undefined)
    return next
  }

  #require(): AuditCollections {
    if (this.#collections === undefined) throw new InternalError('checkpoints are used before their start or after their stop')
    return this.#collections
  }
}

/** Tenants that have a chain, one look per tenant. */
async function tenantsOf(blocks: AuditCollections['blocks']): Promise<string[]> {
  const tenants: string[] = []
  while (tenants.length < TENANTS_MAX) {
    const [next] = await blocks.find({ tenant: { $gt: tenants.at(-1) ?? '' } }, { sort: { tenant: 1, firstSeq: 1 }, limit: 1 })
    if (next === undefined) break
    tenants.push(next.tenant)
  }
  return tenants
}

/** What the file's checkpoints say, unverified: only a hint of how far the trail was. Empty when there is no file. */
async function readCheckpointFile(path: string, log: Logger): Promise<{ tenant: string; seq: number }[]> {
  try {
    const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '')
    return lines.map((line) => {
      const { jws } = JSON.parse(line) as { jws: string }
      return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8')) as { tenant: string; seq: number }
    })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    log.error(
      { path, error: describeError(error) },
      'the checkpoints of the last run cannot be read: whether the audit trail lost its end is not known',
    )
    return []
  }
}
