import { authorise, type Action, type Principal } from '../../contracts/authorisation.ts'
import { AccessError, ConflictError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Clock } from '../../kernel/time.ts'
import type { WriteResult } from '../../storage/documents/documents.ts'
import type { WindowSpec } from '../windows/config.ts'
import type { RulesConfig } from './config.ts'
import { ruleFaults, type RuleSettings } from './rule.ts'
import type { RuleDocument, RuleVersion, StoredRule } from './rule-document.ts'
import type { RulesView } from './rules-view.ts'

/** A rule as people see it. */
export type RuleView = RuleSettings & {
  id: string
  /** Of its settings: alerts name it. */
  ruleVersion: number
  /** From when on it judges, epoch ms. */
  activeFrom: number
  createdBy: string
  createdAt: number
  updatedBy: string
  updatedAt: number
  /** What `expectedVersion` is compared with. */
  version: number
}

export interface RulesServiceOptions {
  view: RulesView
  clock: Clock
  config: RulesConfig
  windows: readonly WindowSpec[]
}

/** Rules as people see and change them, within the principal's tenant. Errors: AccessError, NotFoundError, InvalidInputError, ConflictError, LimitError. */
export class RulesService {
  readonly #options: RulesServiceOptions

  constructor(options: RulesServiceOptions) {
    this.#options = options
  }

  /** All of the tenant's, newest first: they are bounded by `rules.rulesMax`. */
  async list(principal: Principal): Promise<RuleView[]> {
    allow(principal, 'read')
    const { view, config } = this.#options
    const found = await view.collection.find({ tenant: principal.tenant, state: 'kept' }, { sort: { id: -1 }, limit: config.rulesMax })
    return found.map(viewOf)
  }

  async get(principal: Principal, id: string): Promise<RuleView> {
    allow(principal, 'read')
    return viewOf(await this.#existing(principal, id))
  }

  async create(principal: Principal, settings: RuleSettings): Promise<RuleView> {
    allow(principal, 'write')
    this.check(settings)
    const { view, clock, config } = this.#options
    const { tenant } = principal
    if ((await view.collection.count({ tenant, state: 'kept' })) >= config.rulesMax) {
      throw new LimitError(`rules.rulesMax is reached (${config.rulesMax} rules)`, { retryable: false })
    }
    const nowMs = clock.nowMs()
    const id = newId(nowMs)
    const by = `${principal.kind}:${principal.id}`
    const versions = [{ version: 1, activeFrom: nowMs + config.activationMs, settings }]
    const document: RuleDocument = { id, tenant, state: 'kept', versions, createdBy: by, createdAt: nowMs, updatedBy: by, updatedAt: nowMs }
    const result = await view.collection.insert(id, document)
    if (result.status === 'conflict') throw new ConflictError('a rule of this id exists', { retryable: true })
    await view.collection.deleteMany({ state: 'gone', updatedAt: { $lt: nowMs - config.goneKeptMs } })
    await view.refresh()
    return viewOf(result.document)
  }

  /** Replaces what it says; an alert under way stays open unless the new version says otherwise. */
  async replace(principal: Principal, id: string, settings: RuleSettings, expectedVersion?: number): Promise<RuleView> {
    allow(principal, 'write')
    this.check(settings)
    return viewOf(await this.#change(principal, id, settings, expectedVersion))
  }

  /** Alerts that it opened are cleared. */
  async remove(principal: Principal, id: string, expectedVersion?: number): Promise<void> {
    allow(principal, 'write')
    await this.#change(principal, id, null, expectedVersion)
  }

  /** InvalidInputError with every fault and its path. */
  check(settings: RuleSettings): void {
    const faults = ruleFaults(settings, this.#options.windows)
    const [first] = faults
    if (first === undefined) return
    throw new InvalidInputError(faults.map(({ path, problem }) => `${path}: ${problem}`).join('; '), {
      details: { field: first.path, faults },
    })
  }

  async #change(principal: Principal, id: string, settings: RuleSettings | null, expectedVersion?: number): Promise<StoredRule> {
    const { view, clock, config } = this.#options
    const { _id, version, ...rule } = await this.#existing(principal, id)
    const nowMs = clock.nowMs()
    const latest = rule.versions[0] as RuleVersion
    // Two changes within a moment: the later one must not begin before the one it follows.
    const activeFrom = Math.max(nowMs + config.activationMs, latest.activeFrom)
    const versions = [{ version: latest.version + 1, activeFrom, settings }, ...rule.versions].slice(0, config.versionsKept)
    const state = settings === null ? 'gone' : 'kept'
    const document: RuleDocument = { ...rule, state, versions, updatedBy: `${principal.kind}:${principal.id}`, updatedAt: nowMs }
    const written = writtenOf(await view.collection.replace(id, expectedVersion ?? version, document), id)
    await view.refresh()
    return written
  }

  async #existing(principal: Principal, id: string): Promise<StoredRule> {
    const rule = await this.#options.view.collection.get(id)
    if (rule === null || rule.tenant !== principal.tenant || rule.state === 'gone') throw new NotFoundError(`there is no rule ${id}`)
    return rule
  }
}

function viewOf({ _id, version, tenant: _tenant, state: _state, versions, ...rule }: StoredRule): RuleView {
  const { settings, version: ruleVersion, activeFrom } = versions[0] as RuleVersion
  return { ...(settings as RuleSettings), ...rule, ruleVersion, activeFrom, version }
}

function allow(principal: Principal, action: Action): void {
  if (authorise(principal, action, { tenant: principal.tenant, kind: 'rules' })) return
  throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not ${action} rules`)
}

function writtenOf(result: WriteResult<RuleDocument>, id: string): StoredRule {
  if (result.status === 'written') return result.document
  if (result.status === 'missing') throw new NotFoundError(`there is no rule ${id}`)
  throw new ConflictError(`rule ${id} was changed by others`, { code: 'VERSION_MISMATCH', remedy: 'Read it again and repeat the change.' })
}
