import type { Counter } from 'prom-client'
import type { AuditedAct, AuditTrail } from '../../contracts/audit.ts'
import { auditScope, nounOf } from '../../contracts/audit.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { PublicJwk } from '../../contracts/statement.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { exportRecords, listEntries, type AuditQuery, type ExportedRecord } from './audit-query.ts'
import { ChainWriter } from './chain-writer.ts'
import { auditConfig, type AuditConfig } from './config.ts'
import { Intents } from './intents.ts'
import { openAuditCollections, openKeys, type AuditCollections, type StoredCheckpoint, type StoredKey } from './documents.ts'
import { looseEntry } from './plain-act.ts'
import { publishedKeys } from './statement-key.ts'

export interface TrailOptions {
  documents: Documents
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  /** Of this data folder, the same after every start; default none: then what it begins is taken up by whoever has none. */
  processId?: string
  auditConfig?: AuditConfig
}

type Opened = AuditCollections & { keys: Collection<StoredKey> }

/** The audit trail: any process and thread appends to it and reads it; the key that signs its checkpoints lies elsewhere (Checkpoints). */
export class Trail implements Service, AuditTrail {
  readonly name = 'audit-trail'
  readonly #options: TrailOptions
  readonly #config: AuditConfig
  readonly #intents: Intents
  readonly #writers = new Map<string, ChainWriter>()
  readonly #entriesTotal: Counter<'outcome'>
  readonly #failedTotal: Counter
  #opening: Promise<Opened> | undefined
  #opened: Opened | undefined

  constructor(options: TrailOptions) {
    this.#options = options
    this.#config = options.auditConfig ?? auditConfig()
    this.#intents = new Intents({ ...options, processId: options.processId ?? '' })
    this.#entriesTotal = options.metrics.counter(
      'registry_audit_entries_total',
      'Entries added to the audit trail, by outcome of the act.',
      ['outcome'],
    )
    this.#failedTotal = options.metrics.counter(
      'registry_audit_failures_total',
      'Acts that could not be recorded and were therefore answered as failed.',
    )
    options.metrics.gaugeOf('registry_audit_waiting_entries', 'Audit entries that wait to become durable.', () =>
      [...this.#writers.values()].reduce((sum, writer) => sum + writer.waiting, 0),
    )
  }

  async start(): Promise<void> {
    this.#opening ??= this.#open()
    try {
      this.#opened = await this.#opening
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  /** What waits becomes durable first. */
  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#writers.values(), (writer) => writer.drain()))
    await this.#intents.stop()
    this.#writers.clear()
    this.#opening = undefined
    this.#opened = undefined
  }

  /** See AuditTrail. Throws LimitError when too many wait. */
  async record(act: AuditedAct): Promise<void> {
    const { clock, log } = this.#options
    const entry = looseEntry(act, clock.nowMs())
    try {
      await this.#writer(act.tenant).append(entry)
    } catch (error) {
      this.#failedTotal.inc()
      throw error
    }
    auditScope.getStore()?.recorded.add(nounOf(entry.action))
    this.#entriesTotal.inc({ outcome: entry.outcome })
    log.debug({ audit: entry.action, tenant: entry.tenant, subject: entry.subject, actor: entry.actor, outcome: entry.outcome }, 'audited')
  }

  /** See AuditTrail. */
  begin(act: AuditedAct): Promise<() => void> {
    return this.#intents.begin(act)
  }

  /** Records what this process had begun and not ended when it was cut off: before it begins anything new. */
  settle(): Promise<void> {
    return this.#intents.settle((entry) => this.#writer(entry.tenant).append(entry))
  }

  /** Newest first; `next` is `before` of the next page. */
  list(query: AuditQuery) {
    return listEntries(this.#require().blocks, query)
  }

  /** Every entry and checkpoint of a tenant, oldest first. */
  records(tenant: string): AsyncGenerator<ExportedRecord> {
    return exportRecords(this.#require(), tenant)
  }

  /** The newest signed checkpoint; undefined before the first. */
  async newestCheckpoint(tenant: string): Promise<StoredCheckpoint | undefined> {
    const [newest] = await this.#require().checkpoints.find({ tenant, kind: 'head' }, { sort: { seq: -1 }, limit: 1 })
    return newest
  }

  /** Public keys with which checkpoints can be verified, newest first. */
  publicKeys(): Promise<PublicJwk[]> {
    return publishedKeys(this.#require().keys)
  }

  async #open(): Promise<Opened> {
    const { documents } = this.#options
    return { ...(await openAuditCollections(documents)), keys: await openKeys(documents) }
  }

  #writer(tenant: string): ChainWriter {
    const { blocks } = this.#require()
    let writer = this.#writers.get(tenant)
    if (writer === undefined) {
      const { clock, random } = this.#options
      writer = new ChainWriter({ tenant, blocks, clock, random, config: this.#config })
      this.#writers.set(tenant, writer)
    }
    return writer
  }

  #require(): Opened {
    if (this.#opened === undefined) throw new InternalError('the audit trail is used before its start or after its stop')
    return this.#opened
  }
}
