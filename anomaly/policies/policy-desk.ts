import type { Principal } from '../../contracts/authorisation.ts'
import { ConflictError, LimitError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { changeId } from '../settings/adopted-changes.ts'
import { POLICIES_COLLECTION, type Policy, type PolicyChange } from './policy.ts'

export interface PolicyDeskOptions {
  documents: Documents
  clock: Clock
  /** Changes in all, over all tenants: whoever scores holds them. */
  config: { feedbackChangesMax: number }
}

export interface PoliciesPut {
  policies: Policy[]
  updatedAt: number | null
  updatedBy: string | null
  /** 0 where none were ever put. */
  version: number
}

/** How often somebody else may take the number of a change first. */
const NUMBER_TRIES = 100

/** The policies of tenants, for people: all of a tenant at once, each time as a change with the next number. */
export class PolicyDesk implements Service {
  readonly name = 'policy-desk'
  readonly #options: PolicyDeskOptions
  #changes: Collection<PolicyChange> | undefined

  constructor(options: PolicyDeskOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#changes ??= await this.#options.documents.collection<PolicyChange>({
      name: POLICIES_COLLECTION,
      indexes: [
        { name: 'by-number', paths: ['number'] },
        { name: 'by-tenant', paths: ['tenant', 'number'] },
      ],
    })
  }

  async stop(): Promise<void> {
    this.#changes = undefined
  }

  async get(tenant: string): Promise<PoliciesPut> {
    const [latest] = await this.#opened().find({ tenant }, { sort: { number: -1 }, limit: 1 })
    if (latest === undefined) return { policies: [], updatedAt: null, updatedBy: null, version: 0 }
    const { policies, at, by, number } = latest
    return { policies, updatedAt: at, updatedBy: by, version: number }
  }

  /** Takes the place of those before, from the next readings on. Throws ConflictError where `expectedVersion` is not the version in force. */
  async put(principal: Principal, policies: readonly Policy[], expectedVersion?: number): Promise<PoliciesPut> {
    const { tenant } = principal
    const { clock, config } = this.#options
    const changes = this.#opened()
    for (let tries = 0; tries < NUMBER_TRIES; tries++) {
      const number = ((await changes.find({}, { sort: { number: -1 }, limit: 1 }))[0]?.number ?? 0) + 1
      const before = await this.get(tenant)
      if (expectedVersion !== undefined && expectedVersion !== before.version) {
        throw versionMismatch()
      }
      if (JSON.stringify(before.policies) === JSON.stringify(policies)) return before
      if (number > config.feedbackChangesMax) {
        throw new LimitError(`anomaly.feedbackChangesMax is reached (${config.feedbackChangesMax} changes)`, { retryable: false })
      }
      const change = { number, tenant, policies: [...policies], by: `${principal.kind}:${principal.id}`, at: clock.nowMs() }
      // Nobody can have put others between: they would have this number.
      const written = await changes.insert(changeId(number), change)
      if (written.status === 'written') return { policies: change.policies, updatedAt: change.at, updatedBy: change.by, version: number }
    }
    throw new ConflictError('many people change policies at this moment', { retryable: true })
  }

  #opened(): Collection<PolicyChange> {
    if (this.#changes === undefined) throw new TypeError('PolicyDesk.start was not called')
    return this.#changes
  }
}

function versionMismatch(): ConflictError {
  return new ConflictError('the policies were changed meanwhile', {
    code: 'VERSION_MISMATCH',
    remedy: 'Read them again and repeat the change.',
  })
}
