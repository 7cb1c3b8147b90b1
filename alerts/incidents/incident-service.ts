import type { AlertState } from '../../contracts/alert.ts'
import { authorise, type Action, type Principal } from '../../contracts/authorisation.ts'
import type { Incident } from '../../contracts/incident.ts'
import { AccessError, ConflictError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import type { Clock } from '../../kernel/time.ts'
import type { AlertsConfig } from '../config.ts'
import { incidentOf, type IncidentDocument, type StoredIncident } from './incident-document.ts'
import { withChange, type IncidentStore } from './incident-store.ts'

const PAGE_ITEMS_DEFAULT = 50
const NOTE_LENGTH_MAX = 2_000

export type IncidentView = Incident & { version: number }

export interface IncidentQuery {
  state?: AlertState
  limit?: number
  /** `next` of the last page. */
  cursor?: string
}

export interface IncidentCommand {
  id: string
  note?: string | undefined
  expectedVersion?: number | undefined
}

/** Incidents as people see and change them, within the principal's tenant. Their alerts follow within a sweep or two, however many. */
export class IncidentService {
  readonly #store: IncidentStore
  readonly #clock: Clock
  readonly #config: AlertsConfig

  constructor(options: { store: IncidentStore; clock: Clock; config: AlertsConfig }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#config = options.config
  }

  get pageItemsMax(): number {
    return this.#config.pageItemsMax
  }

  /** Newest first. */
  async list(principal: Principal, query: IncidentQuery = {}): Promise<{ items: IncidentView[]; next: string | null }> {
    allow(principal, 'read')
    const { state, cursor, limit = PAGE_ITEMS_DEFAULT } = query
    if (!Number.isInteger(limit) || limit < 1 || limit > this.#config.pageItemsMax)
      throw invalid('limit', `must be 1 to ${this.#config.pageItemsMax}`)
    if (cursor !== undefined && !/^[0-9a-z]{26}$/.test(cursor)) throw invalid('cursor', 'is not one that a page answered')
    const filter = {
      tenant: principal.tenant,
      ...(state === undefined ? {} : { state }),
      ...(cursor === undefined ? {} : { id: { $lt: cursor } }),
    }
    const found = await this.#store.collection.find(filter, { sort: { id: -1 }, limit: limit + 1 })
    const items = found.slice(0, limit).map(viewOf)
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  async get(principal: Principal, id: string): Promise<IncidentView> {
    allow(principal, 'read')
    const incident = await this.#store.collection.get(id)
    if (incident === null || incident.tenant !== principal.tenant) throw new NotFoundError(`there is no incident ${id}`)
    return viewOf(incident)
  }

  /** Somebody looks after the whole: its open alerts are acknowledged, and those that join it. */
  acknowledge(principal: Principal, command: IncidentCommand): Promise<IncidentView> {
    return this.#change(principal, command, (incident, by, note, nowMs) => {
      if (incident.state !== 'open') throw illegal(incident, 'acknowledged')
      const spread = { action: 'acknowledge', by, note } as const
      return withChange({ ...incident, state: 'acknowledged', acknowledgedBy: by, spread, dueAt: nowMs }, 'acknowledged', nowMs)
    })
  }

  /** All of it is over: its alerts are resolved, and it with the last of them. */
  resolve(principal: Principal, command: IncidentCommand): Promise<IncidentView> {
    return this.#change(principal, command, (incident, by, note, nowMs) => {
      if (incident.state === 'resolved') throw illegal(incident, 'resolved')
      return { ...incident, spread: { action: 'resolve', by, note }, dueAt: nowMs, updatedAt: nowMs }
    })
  }

  async #change(
    principal: Principal,
    command: IncidentCommand,
    step: (incident: IncidentDocument, by: string, note: string, nowMs: number) => IncidentDocument,
  ): Promise<IncidentView> {
    allow(principal, 'write')
    const { id, note, expectedVersion } = command
    if ((note?.length ?? 0) > NOTE_LENGTH_MAX) throw invalid('note', `is longer than ${NOTE_LENGTH_MAX} characters`)
    const by = `${principal.kind}:${principal.id}`
    const told = `with incident ${id}, by ${by}${note === undefined ? '' : `: ${note}`}`
    const of = { id, tenant: principal.tenant, expectedVersion }
    return viewOf(await this.#store.change(of, (incident) => step(incident, by, told, this.#clock.nowMs())))
  }
}

function viewOf(stored: StoredIncident): IncidentView {
  return { ...incidentOf(stored), version: stored.version }
}

function allow(principal: Principal, action: Action): void {
  if (authorise(principal, action, { tenant: principal.tenant, kind: 'alerts' })) return
  throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not ${action} incidents`)
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(`${field} ${problem}`, { details: { field } })
}

function illegal({ id, state }: IncidentDocument, to: string): ConflictError {
  return new ConflictError(`incident ${id} is ${state} and cannot be ${to}`, { details: { state } })
}
