import type { AuditTrail } from '../../contracts/audit.ts'
import { actorOf, authorise, type Principal } from '../../contracts/authorisation.ts'
import type { Incident } from '../../contracts/incident.ts'
import {
  PROPOSAL_KINDS,
  type Proposal,
  type ProposalKind,
  type ProposalState,
  type ProposedAct,
  PROPOSAL_TARGET_PATTERN,
} from '../../contracts/proposal.ts'
import { AccessError, ConflictError, InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { Sweeper } from '../../kernel/sweeper.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { plainText } from '../access/plain-text.ts'
import { BusKey } from '../bus/bus-key.ts'
import { tell } from '../bus/outbox.ts'
import { ToldStore } from '../bus/told-store.ts'
import type { Actions } from './actions.ts'
import type { ProposalsConfig } from './config.ts'
import { Executor } from './executor.ts'
import {
  actOf,
  diffHash,
  proposalId,
  proposalOf,
  PROPOSALS_COLLECTION,
  type ProposalDocument,
  type StoredProposal,
} from './proposal-document.ts'

const REASON_LENGTH_MAX = 500
/** What is due at a time, looked at per sweep. */
const DUE_MAX = 100
const TARGET = new RegExp(PROPOSAL_TARGET_PATTERN)
const ID = /^pr_[0-9a-f]{32}$/

export interface ProposalsOptions {
  documents: Documents
  eventLog: EventLog
  actions: Actions
  auditTrail: AuditTrail
  clock: Clock
  log: Logger
  config: ProposalsConfig
  /** False where what time makes due is another process's. */
  works: boolean
}

/** Why something is proposed: a cause that the checks found. */
export interface Grounds {
  cause: string
  level: string
  evidence: readonly string[]
}

export interface ProposalQuery {
  state?: ProposalState
  incident?: string
  limit: number
  /** `next` of the last page. */
  cursor?: string
}

/**
 * What agents propose and people decide. Nothing is done before somebody with the right for it approves exactly the changes that were shown;
 * then it is done once, by whichever process, through crashes.
 */
export class Proposals implements Service {
  readonly name = 'proposals'
  readonly #options: ProposalsOptions
  readonly #key: BusKey
  readonly #store: ToldStore<ProposalDocument>
  readonly #executor: Executor
  readonly #sweeper: Sweeper

  constructor(options: ProposalsOptions) {
    this.#options = options
    const { clock, log, config } = options
    this.#key = new BusKey(options)
    this.#store = new ToldStore<ProposalDocument>({ ...options, key: this.#key, collection: PROPOSALS_COLLECTION, noun: 'proposal' })
    this.#executor = new Executor({ ...options, store: this.#store })
    this.#sweeper = new Sweeper({ what: 'proposals', intervalMs: config.sweepIntervalMs, clock, log, sweep: () => this.sweep() })
  }

  async start(): Promise<void> {
    await this.#key.start()
    await this.#store.start()
    if (this.#options.works) this.#sweeper.start()
  }
  async stop(): Promise<void> {
    await this.#sweeper.stop()
    await this.#store.stop()
    await this.#key.stop()
  }

  get pageItemsMax(): number {
    return this.#options.config.pageItemsMax
  }

  /**
   * Proposes what can be done about an incident, for each kind what it fits; answers those that are new. What is proposed consists of ids that
   * the stores gave for this incident, and of numbers of ours.
   */
  async propose(incident: Incident, conversation: string, by: string, kinds: ReadonlyMap<ProposalKind, Grounds>): Promise<Proposal[]> {
    const { actions, config, clock } = this.#options
    const made: Proposal[] = []
    for (const [kind, grounds] of kinds) {
      for (const target of await actions[kind].targets(incident, config.targetsMax)) {
        if (!TARGET.test(target)) continue
        const untilMs = kind === 'alert.silence' ? clock.nowMs() + config.silenceMs : null
        const proposal = await this.#proposed(incident, conversation, by, { kind, target, untilMs }, grounds)
        if (proposal !== null) made.push(proposal)
      }
    }
    return made
  }

  async list(tenant: string, { state, incident, limit, cursor }: ProposalQuery): Promise<{ items: Proposal[]; next: string | null }> {
    const [at, id] = cursorOf(cursor)
    const filter = {
      ...{ tenant, ...(state === undefined ? {} : { state }), ...(incident === undefined ? {} : { incident }) },
      ...(cursor === undefined ? {} : { $or: [{ createdAt: { $lt: at } }, { createdAt: at, id: { $lt: id } }] }),
    }
    const found = await this.#store.collection.find(filter, { sort: { createdAt: -1, id: -1 }, limit: limit + 1 })
    const items = found.slice(0, limit).map(proposalOf)
    const last = items.at(-1)
    return { items, next: found.length > limit && last !== undefined ? `${last.createdAt}-${last.id}` : null }
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<Proposal> {
    return proposalOf(await this.#store.change({ id, tenant }, (document) => document))
  }

  /**
   * Has it done: `hash` is that of the changes that whoever approves has seen. Where they would be others by now, it is refused, and the
   * proposal shows the new ones. Throws AccessError, NotFoundError, ConflictError (PROPOSAL_MOVED where the state moved).
   */
  async approve(principal: Principal, id: string, hash: string): Promise<Proposal> {
    const { tenant } = principal
    const found = await this.get(tenant, id)
    requireRightOf(principal, found.kind)
    const seen = await this.#lookedAt(found)
    const by = actorOf(principal)
    const decided = await this.#store.change({ id, tenant }, (document) => this.#approved(document, { by, hash, seen }))
    if (decided.state !== 'approved' || decided.decidedBy !== by)
      throw new ConflictError(`proposal ${id} is ${decided.state}`, { remedy: 'Read it again.' })
    await this.#record(decided, by, 'proposal.approve', { diffHash: hash })
    return proposalOf(await this.#executor.run({ id, tenant }))
  }

  /** It will not be done. Throws AccessError, NotFoundError, ConflictError. */
  async reject(principal: Principal, id: string, why: string): Promise<Proposal> {
    const { tenant } = principal
    const reason = plainText(why, REASON_LENGTH_MAX).trim()
    if (reason === '') throw new InvalidInputError('reason must not be empty', { details: { field: 'reason' } })
    const by = actorOf(principal)
    requireRightOf(principal, (await this.get(tenant, id)).kind)
    const rejected = await this.#store.change({ id, tenant }, (document) => {
      if (document.state !== 'pending') throw new ConflictError(`proposal ${id} is ${document.state}`, { remedy: 'Read it again.' })
      return this.#decided({ ...document, state: 'rejected', decidedBy: by, reason, dueAt: null })
    })
    await this.#record(rejected, by, 'proposal.reject', { reason })
    return proposalOf(rejected)
  }

  /** What time makes due: proposals that nobody decided expire, and executions that were cut off are found out about. */
  async sweep(): Promise<void> {
    const { clock, config } = this.#options
    const nowMs = clock.nowMs()
    for (const { id, tenant, state } of await this.#store.collection.find(
      { dueAt: { $lte: nowMs, $gt: 0 } },
      { sort: { dueAt: 1 }, limit: DUE_MAX },
    )) {
      if (state === 'approved') await this.#executor.run({ id, tenant })
      else
        await this.#store.change({ id, tenant }, (document) =>
          isOver(document, nowMs) ? this.#decided({ ...document, state: 'expired', dueAt: null }) : document,
        )
    }
    await this.#store.republish()
    await this.#store.collection.deleteMany({ dueAt: null, unpublishedSince: null, createdAt: { $lt: nowMs - config.retentionMs } })
  }

  async #proposed(incident: Incident, conversation: string, by: string, act: ProposedAct, grounds: Grounds): Promise<Proposal | null> {
    const { actions, clock, config } = this.#options
    const { tenant, correlationId } = incident
    const id = proposalId(tenant, incident.id, act)
    const seen = await actions[act.kind].dryRun(tenant, act)
    if (seen.status !== 'possible') return null
    const nowMs = clock.nowMs()
    const expiresAt = Math.min(nowMs + config.lifetimeMs, act.untilMs ?? Number.MAX_SAFE_INTEGER)
    const hash = diffHash(act, seen.diff)
    const document: ProposalDocument = {
      ...{
        v: 1,
        id,
        tenant,
        incident: incident.id,
        conversation,
        ...act,
        cause: grounds.cause,
        level: grounds.level,
        evidence: [...grounds.evidence],
      },
      ...{ diff: seen.diff, diffHash: hash, state: 'pending', createdBy: by, createdAt: nowMs, expiresAt, dueAt: expiresAt },
      ...{ decidedBy: null, decidedAt: null, reason: null, settledAt: null, outcome: null, lease: null, attempts: 0 },
      ...{ correlationId, sequence: 0, outbox: [], unpublishedSince: null },
    }
    const data = { proposalId: id, chatId: conversation, kind: act.kind, target: act.target, diffHash: hash }
    const stored = await this.#store.insert(id, tell(document, 'ProposalCreated', data, nowMs))
    if (stored === null) return null
    await this.#record(stored, by, 'proposal.create', { kind: act.kind, target: act.target, diffHash: hash })
    return proposalOf(stored)
  }

  async #lookedAt(proposal: Proposal): Promise<{ diff: Proposal['diff']; hash: string } | { why: string }> {
    if (proposal.state !== 'pending') return { diff: proposal.diff, hash: proposal.diffHash }
    const act = actOf(proposal)
    const seen = await this.#options.actions[proposal.kind].dryRun(proposal.tenant, act)
    if (seen.status === 'possible') return { diff: seen.diff, hash: diffHash(act, seen.diff) }
    return { why: seen.status === 'applied' ? 'it is so already' : seen.why }
  }

  #approved(
    document: ProposalDocument,
    { by, hash, seen }: { by: string; hash: string; seen: { diff: Proposal['diff']; hash: string } | { why: string } },
  ): ProposalDocument {
    const { id, state } = document
    const nowMs = this.#options.clock.nowMs()
    if (state !== 'pending') throw new ConflictError(`proposal ${id} is ${state}`, { remedy: 'Read it again.' })
    if (isOver(document, nowMs)) throw new ConflictError(`proposal ${id} has expired`)
    if ('why' in seen) throw moved(id, `it cannot be done: ${seen.why}`)
    if (seen.hash !== hash) throw moved(id, 'what it would change is not what was approved')
    return this.#decided({ ...document, diff: seen.diff, diffHash: hash, state: 'approved', decidedBy: by, dueAt: nowMs })
  }

  /** Shows what it would change now, where that is something else. */
  async refresh(tenant: string, id: string): Promise<Proposal> {
    const found = await this.get(tenant, id)
    const seen = await this.#lookedAt(found)
    if ('why' in seen || seen.hash === found.diffHash) return found
    const { diff, hash } = seen
    return proposalOf(
      await this.#store.change({ id, tenant }, (document) =>
        document.state === 'pending' ? { ...document, diff, diffHash: hash } : document,
      ),
    )
  }

  #decided(document: ProposalDocument): ProposalDocument {
    const nowMs = this.#options.clock.nowMs()
    const { id, conversation, state, decidedBy } = document
    return tell({ ...document, decidedAt: nowMs }, 'ProposalDecided', { proposalId: id, chatId: conversation, state, by: decidedBy }, nowMs)
  }

  async #record({ id, tenant, correlationId }: StoredProposal, actor: string, action: string, after: object): Promise<void> {
    await this.#options.auditTrail.record({ tenant, actor, action, subject: { kind: 'proposal', id }, after, correlationId })
  }
}

/** Whoever decides must be allowed to do it. */
function requireRightOf(principal: Principal, kind: ProposalKind): void {
  const { action, kind: resource } = PROPOSAL_KINDS[kind].right
  const may = (asked: 'write' | 'revoke', what: string): boolean => authorise(principal, asked, { tenant: principal.tenant, kind: what })
  if (may('write', 'proposals') && may(action, resource)) return
  throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not decide about ${kind}`)
}

function isOver({ state, expiresAt }: ProposalDocument, nowMs: number): boolean {
  return state === 'pending' && expiresAt <= nowMs
}

function moved(id: string, why: string): ConflictError {
  return new ConflictError(`proposal ${id}: ${why}`, {
    code: 'PROPOSAL_MOVED',
    remedy: 'Read it again: it shows what it would change now.',
  })
}

function cursorOf(cursor: string | undefined): [at: number, id: string] {
  if (cursor === undefined) return [0, '']
  const [, at, id] = /^(\d{1,16})-(.{1,64})$/.exec(cursor) ?? []
  if (at === undefined || id === undefined || !ID.test(id))
    throw new InvalidInputError('cursor: it is not one that this list answered', { details: { field: 'cursor' } })
  return [Number(at), id]
}
