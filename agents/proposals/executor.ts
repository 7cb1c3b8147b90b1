import type { AuditTrail } from '../../contracts/audit.ts'
import { ConflictError, describeError, FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import { tell } from '../bus/outbox.ts'
import type { ToldStore } from '../bus/told-store.ts'
import type { Actions } from './actions.ts'
import type { ProposalsConfig } from './config.ts'
import { actOf, diffHash, type ProposalDocument, type StoredProposal } from './proposal-document.ts'

/** Times that what is to change may move under one execution, to another version of the same state. */
const MOVES_MAX = 5

export interface ExecutorOptions {
  store: ToldStore<ProposalDocument>
  actions: Actions
  auditTrail: AuditTrail
  clock: Clock
  log: Logger
  config: ProposalsConfig
}

type Ending = { state: 'done' | 'failed'; outcome: string }

/**
 * Does what was approved, once. Only who takes the lease executes; whoever takes it after a crash first looks whether it is done already.
 * Where two still meet, the version of the thing decides: the act is done to the version that the dry run saw, or not at all.
 */
export class Executor {
  readonly #options: ExecutorOptions

  constructor(options: ExecutorOptions) {
    this.#options = options
  }

  /** Executes it unless another does or did; answers how it is then. */
  async run(of: { id: string; tenant: string }): Promise<StoredProposal> {
    const { store, clock, config } = this.#options
    let epoch = 0
    const claimed = await store.change(of, (document) => {
      epoch = 0
      const nowMs = clock.nowMs()
      if (document.state !== 'approved' || (document.lease !== null && document.lease.until > nowMs)) return document
      epoch = (document.lease?.epoch ?? 0) + 1
      const until = nowMs + config.leaseMs
      return { ...document, lease: { epoch, until }, attempts: document.attempts + 1, dueAt: until }
    })
    if (epoch === 0) return claimed
    const ending = await this.#execute(claimed)
    return ending === null ? claimed : this.#settle(claimed, epoch, ending)
  }

  /** Null: a store is in trouble, and the next holder of the lease finds out. */
  async #execute(proposal: StoredProposal): Promise<Ending | null> {
    const { actions, config, log } = this.#options
    const { id, tenant, decidedBy, attempts } = proposal
    const act = actOf(proposal)
    const port = actions[proposal.kind]
    try {
      for (let move = 0; move < MOVES_MAX; move++) {
        const seen = await port.dryRun(tenant, act)
        if (seen.status === 'applied') return { state: 'done', outcome: attempts > 1 || move > 0 ? 'found done' : 'it was so already' }
        if (seen.status === 'impossible') return { state: 'failed', outcome: seen.why }
        if (diffHash(act, seen.diff) !== proposal.diffHash) return { state: 'failed', outcome: 'the state moved after the approval' }
        const isDone = await port
          .execute(tenant, act, { basis: seen.basis, by: decidedBy ?? 'system', proposal: id })
          .then(() => true, unlessMoved)
        if (isDone) return { state: 'done', outcome: 'done' }
      }
      return { state: 'failed', outcome: 'the state moved at every try' }
    } catch (error) {
      const isFinal = attempts >= config.attemptsMax || (error instanceof FleetpulseError && error.fault === 'caller')
      log.warn({ proposal: id, kind: proposal.kind, attempts, isFinal, error: describeError(error) }, 'a proposal could not be executed')
      return isFinal ? { state: 'failed', outcome: describeError(error) } : null
    }
  }

  async #settle(proposal: StoredProposal, epoch: number, { state, outcome }: Ending): Promise<StoredProposal> {
    const { store, auditTrail, clock } = this.#options
    const { id, tenant, kind, target, diff, decidedBy, conversation, correlationId } = proposal
    const isDone = state === 'done'
    // Before it is settled: of an execution that a crash cuts off here there may be two entries, never none.
    await auditTrail.record({
      ...{ tenant, actor: decidedBy ?? 'system', action: 'proposal.execute', subject: { kind: 'proposal', id }, correlationId },
      ...{ outcome: isDone ? 'done' : 'failed', why: `${kind} of ${target}: ${outcome}` },
      ...(isDone ? { before: valuesOf(diff, 'before'), after: valuesOf(diff, 'after') } : {}),
    })
    return store.change({ id, tenant }, (document) => {
      if (document.state !== 'approved' || document.lease?.epoch !== epoch) return document
      const nowMs = clock.nowMs()
      const settled: ProposalDocument = { ...document, state, outcome, settledAt: nowMs, lease: null, dueAt: null }
      return tell(settled, 'ProposalSettled', { proposalId: id, chatId: conversation, state, outcome }, nowMs)
    })
  }
}

function unlessMoved(error: unknown): false {
  if (error instanceof ConflictError) return false
  throw error
}

function valuesOf(diff: ProposalDocument['diff'], side: 'before' | 'after'): Record<string, string | number | null> {
  return Object.fromEntries(diff.map((change) => [`${change.subject} ${change.field}`, change[side]]))
}
