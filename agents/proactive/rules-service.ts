import type { Principal } from '../../contracts/authorisation.ts'
import { ConflictError, InternalError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { participantOf } from '../access/rights.ts'
import { completed } from './condition.ts'
import type { ProactiveConfig } from './config.ts'
import {
  BUILT_IN_RULES,
  PROACTIVE_RULES_COLLECTION,
  type ProactiveRule,
  type ProactiveRuleDocument,
  type ProactiveRuleSettings,
  type StoredProactiveRule,
} from './rule.ts'

/** As people see it. */
export interface ProactiveRuleView extends ProactiveRule {
  builtIn: boolean
  changedBy: string | null
  changedAt: number | null
}

export interface ProactiveRulesOptions {
  documents: Documents
  clock: Clock
  config: ProactiveConfig
}

/** Proactive rules of a tenant: those of the platform, as the tenant changed them, and its own. The caller has asked for rights. */
export class ProactiveRules implements Service {
  readonly name = 'proactive-rules'
  readonly #options: ProactiveRulesOptions
  #rules: Collection<ProactiveRuleDocument> | undefined

  constructor(options: ProactiveRulesOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#rules ??= await this.#options.documents.collection<ProactiveRuleDocument>(PROACTIVE_RULES_COLLECTION)
  }
  async stop(): Promise<void> {
    this.#rules = undefined
  }

  /** In force for this tenant, by id. */
  async list(tenant: string): Promise<ProactiveRuleView[]> {
    const stored = await this.#opened().find({ tenant }, { sort: { id: 1 }, limit: this.#most() })
    const rules = new Map<string, ProactiveRuleView>(BUILT_IN_RULES.map((rule) => [rule.id, builtIn(rule)]))
    for (const document of stored) {
      const view = viewOf(document)
      if (view !== null) rules.set(view.id, view)
    }
    return [...rules.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<ProactiveRuleView> {
    const stored = await this.#opened().get(documentId(tenant, id))
    const ours = BUILT_IN_RULES.find((rule) => rule.id === id)
    const view = (stored === null ? null : viewOf(stored)) ?? (ours === undefined ? null : builtIn(ours))
    if (view === null) throw new NotFoundError(`there is no proactive rule ${id}`)
    return view
  }

  /** Throws LimitError. */
  async create(principal: Principal, settings: ProactiveRuleSettings): Promise<ProactiveRuleView> {
    const { tenant } = principal
    const { clock, config } = this.#options
    const ofTenant = (await this.list(tenant)).filter((rule) => !rule.builtIn).length
    if (ofTenant >= config.rulesMax) throw new LimitError(`proactive.rulesMax is reached (${config.rulesMax} rules)`, { retryable: false })
    const nowMs = clock.nowMs()
    const id = newId(nowMs)
    const versions = [{ version: 1, at: nowMs, by: participantOf(principal), settings: { ...settings, when: completed(settings.when) } }]
    const result = await this.#opened().insert(documentId(tenant, id), { id, tenant, versions })
    if (result.status === 'conflict') throw new ConflictError('a proactive rule of this id exists', { retryable: true })
    return this.get(tenant, id)
  }

  /** Changes one, also one of the platform's. `expected`: the version that was read; ConflictError for another. */
  replace(principal: Principal, id: string, settings: ProactiveRuleSettings, expected?: number): Promise<ProactiveRuleView> {
    return this.#change(principal, id, settings, expected).then(() => this.get(principal.tenant, id))
  }

  /** One of the platform's is as it came. */
  async remove(principal: Principal, id: string, expected?: number): Promise<void> {
    await this.#change(principal, id, null, expected)
  }

  async #change(principal: Principal, id: string, settings: ProactiveRuleSettings | null, expected: number | undefined): Promise<void> {
    const { clock, config } = this.#options
    const { tenant } = principal
    const before = await this.get(tenant, id)
    if (expected !== undefined && expected !== before.ruleVersion) {
      const problem = `proactive rule ${id} has version ${before.ruleVersion}, not ${expected}`
      throw new ConflictError(problem, { code: 'VERSION_MISMATCH', remedy: 'Read it again and repeat the change.' })
    }
    const stored = await this.#opened().get(documentId(tenant, id))
    const known = stored?.versions ?? []
    const kept = settings === null ? null : { ...settings, when: completed(settings.when) }
    const next = { version: (known[0]?.version ?? 0) + 1, at: clock.nowMs(), by: participantOf(principal), settings: kept }
    const document: ProactiveRuleDocument = { id, tenant, versions: [next, ...known].slice(0, config.versionsKept) }
    const rules = this.#opened()
    const at = documentId(tenant, id)
    const result = await (stored === null ? rules.insert(at, document) : rules.replace(at, stored.version, document))
    if (result.status !== 'written')
      throw new ConflictError(`proactive rule ${id} was changed by others`, { retryable: true, remedy: 'Try again.' })
  }

  /** Removed ones are kept for their versions: they are bounded too. */
  #most(): number {
    return 10 * this.#options.config.rulesMax + BUILT_IN_RULES.length
  }

  #opened(): Collection<ProactiveRuleDocument> {
    if (this.#rules === undefined) throw new InternalError('proactive rules are used before their start or after their stop')
    return this.#rules
  }
}

function documentId(tenant: string, id: string): string {
  return `${tenant}/${id}`
}

function builtIn(rule: ProactiveRule): ProactiveRuleView {
  return { ...rule, builtIn: true, changedBy: null, changedAt: null }
}

function viewOf({ id, versions }: ProactiveRuleDocument | StoredProactiveRule): ProactiveRuleView | null {
  const latest = versions[0]
  if (latest === undefined || latest.settings === null) return null
  const isBuiltIn = BUILT_IN_RULES.some((rule) => rule.id === id)
  return { ...latest.settings, id, ruleVersion: latest.version, builtIn: isBuiltIn, changedBy: latest.by, changedAt: latest.at }
}
