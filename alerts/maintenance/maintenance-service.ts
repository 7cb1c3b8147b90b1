import { authorise, type Action, type Principal } from '../../contracts/authorisation.ts'
import { AccessError, ConflictError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Clock } from '../../kernel/time.ts'
import { isTimeZone } from '../../kernel/zoned-time.ts'
import type { WriteResult } from '../../storage/documents/documents.ts'
import type { AlertQuietAsk } from '../alert-quiet-ask.ts'
import type { MaintenanceView } from './maintenance-view.ts'
import { nextOccurrence, type MaintenanceSettings, type MaintenanceWindow, type StoredWindow } from './maintenance-window.ts'

export type MaintenanceWindowView = MaintenanceWindow & { version: number; next: { from: number; until: number } | null }

export interface MaintenanceServiceOptions {
  view: MaintenanceView
  /** What a window kept quiet is looked at again when the window changes or goes. */
  quietAsk: AlertQuietAsk
  clock: Clock
  config: { maintenanceWindowsMax: number; pageItemsMax: number }
}

/** Maintenance windows as people see and change them, within the principal's tenant. */
export class MaintenanceService {
  readonly #options: MaintenanceServiceOptions

  constructor(options: MaintenanceServiceOptions) {
    this.#options = options
  }

  /** All of the tenant's, newest first: they are bounded by `alerts.maintenanceWindowsMax`. */
  async list(principal: Principal): Promise<MaintenanceWindowView[]> {
    allow(principal, 'read')
    const { view, config } = this.#options
    const found = await view.collection.find({ tenant: principal.tenant }, { sort: { id: -1 }, limit: config.maintenanceWindowsMax })
    return found.map((window) => this.#viewOf(window))
  }

  async get(principal: Principal, id: string): Promise<MaintenanceWindowView> {
    allow(principal, 'read')
    return this.#viewOf(await this.#existing(principal, id))
  }

  async create(principal: Principal, settings: MaintenanceSettings): Promise<MaintenanceWindowView> {
    allow(principal, 'write')
    const { view, clock, config } = this.#options
    const nowMs = clock.nowMs()
    checkSettings(settings, nowMs)
    if ((await view.collection.count({ tenant: principal.tenant })) >= config.maintenanceWindowsMax) {
      throw new LimitError(`alerts.maintenanceWindowsMax is reached (${config.maintenanceWindowsMax} windows)`, { retryable: false })
    }
    const id = newId(nowMs)
    const { tenant } = principal
    const document = { id, tenant, ...settings, createdBy: `${principal.kind}:${principal.id}`, createdAt: nowMs, updatedAt: nowMs }
    const result = await view.collection.insert(id, document)
    if (result.status === 'conflict') throw new ConflictError('a window of this id exists', { retryable: true })
    await view.refresh()
    return this.#viewOf(result.document)
  }

  /** Ends it at once; what it kept quiet and is not over is told then. */
  async remove(principal: Principal, id: string, expectedVersion?: number): Promise<void> {
    allow(principal, 'write')
    const { view, quietAsk } = this.#options
    await this.#existing(principal, id)
    const result = await view.collection.delete(id, expectedVersion)
    if (result.status === 'conflict') throw versionConflict(id)
    await view.refresh()
    await quietAsk.askAgain({ 'quiet.ref': id })
  }

  /** Replaces what it says. */
  async replace(principal: Principal, id: string, settings: MaintenanceSettings, expectedVersion?: number): Promise<MaintenanceWindowView> {
    allow(principal, 'write')
    const { view, quietAsk, clock } = this.#options
    const nowMs = clock.nowMs()
    checkSettings(settings, nowMs)
    const { _id, version, once: _once, weekly: _weekly, ...kept } = await this.#existing(principal, id)
    const result = await view.collection.replace(id, expectedVersion ?? version, { ...kept, ...settings, updatedAt: nowMs })
    const window = written(result, id)
    await view.refresh()
    await quietAsk.askAgain({ 'quiet.ref': id })
    return this.#viewOf(window)
  }

  async #existing(principal: Principal, id: string): Promise<StoredWindow> {
    const window = await this.#options.view.collection.get(id)
    if (window === null || window.tenant !== principal.tenant) throw new NotFoundError(`there is no maintenance window ${id}`)
    return window
  }

  #viewOf({ _id, ...window }: StoredWindow): MaintenanceWindowView {
    return { ...window, next: nextOccurrence(window, this.#options.clock.nowMs()) }
  }
}

function checkSettings({ once, weekly }: MaintenanceSettings, nowMs: number): void {
  if ((once === undefined) === (weekly === undefined))
    throw invalid('once', 'a window is either `once` or `weekly`, not both and not neither')
  if (once !== undefined && once.until <= once.from) throw invalid('once.until', 'it must end after it begins')
  if (once !== undefined && once.until <= nowMs) throw invalid('once.until', 'it would be over already')
  if (weekly !== undefined && !isTimeZone(weekly.timeZone)) {
    throw invalid('weekly.timeZone', `"${weekly.timeZone}" is no time zone of the IANA database, such as Europe/Berlin`)
  }
}

function allow(principal: Principal, action: Action): void {
  if (authorise(principal, action, { tenant: principal.tenant, kind: 'alerts' })) return
  throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not ${action} maintenance windows`)
}

function written(result: WriteResult<MaintenanceWindow>, id: string): StoredWindow {
  if (result.status === 'written') return result.document
  if (result.status === 'missing') throw new NotFoundError(`there is no maintenance window ${id}`)
  throw versionConflict(id)
}

function versionConflict(id: string): ConflictError {
  return new ConflictError(`maintenance window ${id} was changed by others`, {
    code: 'VERSION_MISMATCH',
    remedy: 'Read it again and repeat the change.',
  })
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(`${field}: ${problem}`, { details: { field } })
}
