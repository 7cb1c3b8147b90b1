import type { Alert, AlertState } from '../contracts/alert.ts'
import { authorise, type Action, type Principal } from '../contracts/authorisation.ts'
import { AccessError, ConflictError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import type { Clock } from '../kernel/time.ts'
import type { Filter } from '../storage/documents/documents.ts'
import { alertOf, type AlertDocument, type ChangeKind, type StoredAlert } from './alert-document.ts'
import { acknowledgeAlert, resolveAlert, silenceAlert, type Author } from './alert-lifecycle.ts'
import { withDirectChange, type AlertStore } from './alert-store.ts'
import type { ChangePublisher } from './change-publisher.ts'
import type { AlertsConfig } from './config.ts'

/** Longest note a person may leave. */
const NOTE_LENGTH_MAX = 2_000
const PAGE_ITEMS_DEFAULT = 50

/** An alert with the version that `expectedVersion` compares against. */
export type AlertView = Alert & { version: number }

export interface AlertQuery {
  state?: AlertState
  device?: string
  severity?: Alert['severity']
  /** 1 to `pageItemsMax`; default 50. */
  limit?: number
  /** `next` of the last page. */
  cursor?: string
}

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
  readonly #clock: Clock
  readonly #config: AlertsConfig

  constructor(options: { store: AlertStore; publisher: ChangePublisher; clock: Clock; config: AlertsConfig }) {
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

  /** Only an open alert can be acknowledged. */
  acknowledge(principal: Principal, command: AlertCommand): Promise<AlertView> {
    return this.#change(principal, command, 'acknowledged', (alert, author, nowMs) => {
      if (alert.state !== 'open') throw illegal(alert, 'acknowledged', 'only an open alert can be')
      return acknowledgeAlert(alert, author, nowMs, this.#config)
    })
  }

  /** An open or acknowledged alert can be resolved; that is final, and the same cause opens another one. */
  resolve(principal: Principal, command: AlertCommand): Promise<AlertView> {
    return this.#change(principal, command, 'resolved', (alert, author, nowMs) => {
      if (alert.state === 'resolved') throw illegal(alert, 'resolved', 'it is already')
      return resolveAlert(alert, author, nowMs, this.#config)
    })
  }

  /** No notices of this alert until then (epoch ms, in the future, at most `silenceMaxMs` away), except that it resolved. */
  silence(principal: Principal, command: AlertCommand & { untilMs: number }): Promise<AlertView> {
    const { untilMs } = command
    return this.#change(principal, command, 'silenced', (alert, author, nowMs) => {
      if (!Number.isInteger(untilMs) || untilMs <= nowMs || untilMs > nowMs + this.#config.silenceMaxMs) {
        throw new InvalidInputError(`untilMs must lie in the future, at most ${this.#config.silenceMaxMs} ms away`, {
          details: { field: 'untilMs' },
        })
      }
      if (alert.state === 'resolved') throw illegal(alert, 'silenced', 'a resolved alert gives no notices')
      return silenceAlert(alert, untilMs, author, nowMs, this.#config)
    })
  }

  async #change(
    principal: Principal,
    command: AlertCommand,
    change: ChangeKind,
    step: (alert: AlertDocument, author: Author, nowMs: number) => AlertDocument,
  ): Promise<AlertView> {
    allow(principal, 'write', command.id)
    if (command.note !== undefined && command.note.length > NOTE_LENGTH_MAX) {
      throw new InvalidInputError(`note is longer than ${NOTE_LENGTH_MAX} characters`, { details: { field: 'note' } })
    }
    const author: Author = { by: principal.kind === 'system' ? 'system' : `${principal.kind}:${principal.id}`, note: command.note }
    const nowMs = this.#clock.nowMs()
    const of = { id: command.id, tenant: principal.tenant, expectedVersion: command.expectedVersion }
    const stored = await this.#store.change(of, (alert) => withDirectChange(step(alert, author, nowMs), change, nowMs))
    return viewOf(await this.#publisher.publish(stored))
  }
}

function viewOf(stored: StoredAlert): AlertView {
  return { ...alertOf(stored), version: stored.version }
}

function allow(principal: Principal, action: Action, id?: string): void {
  const resource = { tenant: principal.tenant, kind: 'alerts', ...(id === undefined ? {} : { id }) }
  if (!authorise(principal, action, resource))
    throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not ${action} alerts`)
}

function illegal(alert: AlertDocument, to: string, because: string): ConflictError {
  return new ConflictError(`alert ${alert.id} is ${alert.state} and cannot be ${to}: ${because}`, { details: { state: alert.state } })
}

function idOfCursor(cursor: string): string {
  if (/^[0-9a-z]{26}$/.test(cursor)) return cursor
  throw new InvalidInputError('cursor is not one that a page answered', { details: { field: 'cursor' } })
}
