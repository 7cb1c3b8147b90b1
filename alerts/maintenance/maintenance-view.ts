import { matches } from '../../contracts/label-matcher.ts'
import { describeError, InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { activeUntil, MAINTENANCE_COLLECTION, type MaintenanceWindow, type StoredWindow } from './maintenance-window.ts'

export interface MaintenanceViewOptions {
  documents: Documents
  clock: Clock
  log: Logger
  config: { maintenanceRefreshMs: number; maintenanceWindowsMax: number }
}

/**
 * Maintenance windows in memory, so that every opened alert can be compared with them; read anew now and then, because other processes
 * change them, and at once after a change made here.
 */
export class MaintenanceView implements Service {
  readonly name = 'maintenance-view'
  readonly #options: MaintenanceViewOptions
  readonly #byTenant = new Map<string, MaintenanceWindow[]>()
  #collection: Collection<MaintenanceWindow> | undefined
  #timer: Timer | undefined

  constructor(options: MaintenanceViewOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, clock, config, log } = this.#options
    this.#collection = await documents.collection<MaintenanceWindow>(MAINTENANCE_COLLECTION)
    await this.refresh()
    this.#timer = every(
      clock,
      config.maintenanceRefreshMs,
      () => this.refresh(),
      (error) => log.error({ error: describeError(error) }, 'maintenance windows were not read anew; those known stand'),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  get collection(): Collection<MaintenanceWindow> {
    if (this.#collection === undefined) throw new InternalError('the maintenance windows are not open')
    return this.#collection
  }

  async refresh(): Promise<void> {
    const windows: StoredWindow[] = await this.collection.find({}, { limit: this.#options.config.maintenanceWindowsMax * 100 })
    this.#byTenant.clear()
    for (const window of windows) this.#byTenant.set(window.tenant, [...(this.#byTenant.get(window.tenant) ?? []), window])
  }

  /** The matching window that is on and ends last. */
  activeFor(tenant: string, labels: Readonly<Record<string, string>>, nowMs: number): { id: string; until: number } | null {
    let last: { id: string; until: number } | null = null
    for (const window of this.#byTenant.get(tenant) ?? []) {
      const until = activeUntil(window, nowMs)
      if (until !== null && until > (last?.until ?? 0) && matches(window.matchers, labels)) last = { id: window.id, until }
    }
    return last
  }
}
