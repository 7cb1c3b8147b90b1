import { describeError, InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { RULES_COLLECTION, type RuleDocument, type StoredRule } from './rule-document.ts'
import type { RulesConfig } from './config.ts'

/** Rules of all tenants in memory at most, in tenants full of them. */
const TENANTS_MAX = 500
const NONE: readonly RuleDocument[] = []

/** What the operator asks for each device. */
export interface RuleSource {
  /** Grows with every change of any rule. */
  readonly generation: number
  of(tenant: string): readonly RuleDocument[]
}

export interface RulesViewOptions {
  documents: Documents
  clock: Clock
  log: Logger
  config: RulesConfig
}

/** Rules in memory, gone ones too; read anew now and then, because other processes change them, and at once after a change made here. */
export class RulesView implements Service, RuleSource {
  readonly name = 'rules-view'
  readonly #options: RulesViewOptions
  #byTenant: ReadonlyMap<string, readonly RuleDocument[]> = new Map()
  #seen = ''
  #generation = 0
  #collection: Collection<RuleDocument> | undefined
  #timer: Timer | undefined

  constructor(options: RulesViewOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, clock, config, log } = this.#options
    this.#collection = await documents.collection<RuleDocument>(RULES_COLLECTION)
    await this.refresh()
    this.#timer = every(
      clock,
      config.refreshMs,
      () => this.refresh(),
      (error) => log.error({ error: describeError(error) }, 'rules were not read anew; those known stand'),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  get collection(): Collection<RuleDocument> {
    if (this.#collection === undefined) throw new InternalError('the rules are not open')
    return this.#collection
  }

  get generation(): number {
    return this.#generation
  }

  of(tenant: string): readonly RuleDocument[] {
    return this.#byTenant.get(tenant) ?? NONE
  }

  async refresh(): Promise<void> {
    const found: StoredRule[] = await this.collection.find({}, { sort: { _id: 1 }, limit: this.#options.config.rulesMax * TENANTS_MAX })
    const seen = found.map(({ _id, version }) => `${_id}/${version}`).join(' ')
    if (seen === this.#seen) return
    const byTenant = new Map<string, RuleDocument[]>()
    for (const rule of found) byTenant.set(rule.tenant, [...(byTenant.get(rule.tenant) ?? []), rule])
    this.#byTenant = byTenant
    this.#seen = seen
    this.#generation++
  }
}
