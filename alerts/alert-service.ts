import type { Alert, AlertState } from '../contracts/alert.ts'
import { authorise, type Action, type Principal } from '../contracts/authorisation.ts'
import { AccessError, FleetpulseError, InvalidInputError, LimitError, NotFoundError } from '../kernel/errors.ts'
import type { Clock } from '../kernel/time.ts'
import type { Filter } from '../storage/documents/documents.ts'
import { ACTIONS, type ActionArguments, type AlertAction } from './alert-actions.ts'
import { alertOf, bare, type StoredAlert } from './alert-document.ts'
import type { Author } from './alert-lifecycle.ts'
import type { AlertQuietAsk } from './alert-quiet-ask.ts'
import { withDirectChanges, type AlertStore } from './alert-store.ts'
import type { ChangePublisher } from './change-publisher.ts'
import type { AlertsConfig } from './config.ts'
import { mapBounded } from '../kernel/map-bounded.ts'

/** Longest note a person may leave. */
const NOTE_LENGTH_MAX = 2_000
const PAGE_ITEMS_DEFAULT = 50

/** An alert with the version that `expectedVersion` compares against. */
export type AlertView = Alert & { version: number }

export interface AlertQuery {
  state?: AlertState
  device?: string
  severity?: Alert['severity']
  assignee?: string
  /** Id of the incident they belong to. */
  incident?: string
  /** 1 to `pageItemsMax`; default 50. */
  limit?: number
  /** `next` of the last page. */
  cursor?: string
}

/** What can be done to many at once. */
export type BulkAction = Extract<AlertAction, 'acknowledge' | 'resolve' | 'suppress' | 'restore' | 'comment'>
export type BulkResult =
  { id: string; status: 'done'; state: AlertState; version: number } | { id: string; status: 'refused'; code: string; problem: string }

/** What a person does to an alert. */
export interface AlertCommand {
  id: string
  note?: string
  /** Refuse (ConflictError) when the alert is at another version by now. */
  expectedVersion?: number
}

/**
 * Alerts as people see and change them. Everything is within the principal's tenant and asks the one authorisation function.
 * Errors: AccessError FORBIDDEN, NotFoundError, InvalidInputError, and ConflictError where the alert's state or version forbids the change.
 */
export class AlertService {
  readonly #store: AlertStore
  readonly #publisher: ChangePublisher
  readonly #quietAsk: AlertQuietAsk
  readonly #clock: Clock
  readonly #config: AlertsConfig

  constructor(options: { store: AlertStore; publisher: ChangePublisher; quietAsk: AlertQuietAsk; clock: Clock; config: AlertsConfig }) {
    this.#quietAsk = options.quietAsk
    this.#store = options.store
    this.#publisher = options.publisher
    this.#clock = options.clock
    this.#config = options.config
  }

  /** Items in one page at most. */
  get pageItemsMax(): number {
    return this.#config.pageItemsMax
  }

  /** Newest first. */
  async list(principal: Principal, query: AlertQuery = {}): Promise<{ items: AlertView[]; next: string | null }> {
    allow(principal, 'read')
    const limit = query.limit ?? PAGE_ITEMS_DEFAULT
    if (!Number.isInteger(limit) || limit < 1 || limit > this.#config.pageItemsMax) {
      throw new InvalidInputError(`limit must be an integer from 1 to ${this.#config.pageItemsMax}`, { details: { field: 'limit' } })
    }
    const filter: Filter = {
      tenant: principal.tenant,
      ...(query.state === undefined ? {} : { state: query.state }),
      ...(query.device === undefined ? {} : { device: query.device }),
      ...(query.severity === undefined ? {} : { severity: query.severity }),
      ...(query.incident === undefined ? {} : { 'incident.id': query.incident }),
      ...(query.assignee === undefined ? {} : { assignee: query.assignee }),
      ...(query.cursor === undefined ? {} : { id: { $lt: idOfCursor(query.cursor) } }),
    }
    const found = await this.#store.find(filter, { sort: { id: -1 }, limit: limit + 1 })
    const page = found.slice(0, limit)
    const last = page.at(-1)
    return { items: page.map(viewOf), next: found.length > limit && last !== undefined ? last.id : null }
  }

  async get(principal: Principal, id: string): Promise<AlertView> {
    allow(principal, 'read', id)
    const stored = await this.#store.get(id)
    if (stored === null || stored.tenant !== principal.tenant) throw new NotFoundError(`there is no alert ${id}`)
    return viewOf(stored)
  }

  /** What a person does to one alert; see ACTIONS for what each needs and forbids. */
  async act(principal: Principal, action: AlertAction, command: AlertCommand & ActionArguments): Promise<AlertView> {
    allow(principal, 'write', command.id)
    if (command.note !== undefined && command.note.length > NOTE_LENGTH_MAX) {
      throw new InvalidInputError(`note is longer than ${NOTE_LENGTH_MAX} characters`, { details: { field: 'note' } })
    }
    const author: Author = { by: principal.kind === 'system' ? principal.id : `${principal.kind}:${principal.id}`, note: command.note }
    const nowMs = this.#clock.nowMs()
    const { change, step } = ACTIONS[action]
    const run = step(command)
    const of = { id: command.id, tenant: principal.tenant, expectedVersion: command.expectedVersion }
    const stored = await this.#store.change(of, (alert) =>
      withDirectChanges(run(alert, { author, nowMs, limits: this.#config }), [change], nowMs),
    )
    await this.#quietAsk.follow(stored, change)
    return viewOf(await this.#publisher.publish(stored))
  }

  acknowledge(principal: Principal, command: AlertCommand): Promise<AlertView> {
    return this.act(principal, 'acknowledge', command)
  }
  /** The same cause opens another alert. */
  resolve(principal: Principal, command: AlertCommand): Promise<AlertView> {
    return this.act(principal, 'resolve', command)
  }
  /** No notices of this alert until then (epoch ms, in the future, at most `silenceMaxMs` away), except that it resolved. */
  silence(principal: Principal, command: AlertCommand & { untilMs: number }): Promise<AlertView> {
    return this.act(principal, 'silence', command)
  }

  /** Does the same to many, each by itself: what one refuses stops no other. Answers in their order. LimitError beyond `bulkItemsMax`. */
  async actOnMany(
    principal: Principal,
    action: BulkAction,
    command: { ids: readonly string[]; note?: string | undefined },
  ): Promise<BulkResult[]> {
    allow(principal, 'write')
    const ids = [...new Set(command.ids)]
    if (ids.length > this.#config.bulkItemsMax) {
      throw new LimitError(`alerts.bulkItemsMax is reached (${this.#config.bulkItemsMax} alerts at a time)`, { retryable: false })
    }
    const note = command.note === undefined ? {} : { note: command.note }
    return mapBounded(ids, this.#config.writesInFlightMax, async (id): Promise<BulkResult> => {
      try {
        const { state, version } = await this.act(principal, action, { id, ...note })
        return { id, status: 'done', state, version }
      } catch (error) {
        if (!(error instanceof FleetpulseError) || error.fault !== 'caller') throw error
        return { id, status: 'refused', code: error.code, problem: error.message }
      }
    })
  }
}

function viewOf(stored: StoredAlert): AlertView {
  return { ...alertOf(bare(stored)), version: stored.version }
}

function allow(principal: Principal, action: Action, id?: string): void {
  const resource = { tenant: principal.tenant, kind: 'alerts', ...(id === undefined ? {} : { id }) }
  if (!authorise(principal, action, resource))
    throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not ${action} alerts`)
}

function idOfCursor(cursor: string): string {
  if (/^[0-9a-z]{26}$/.test(cursor)) return cursor
  throw new InvalidInputError('cursor is not one that a page answered', { details: { field: 'cursor' } })
}
