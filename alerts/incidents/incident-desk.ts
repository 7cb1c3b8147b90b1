import { PLACE_LABEL } from '../../contracts/device-facts.ts'
import { INCIDENT_LEVELS, type IncidentLevel } from '../../contracts/alert.ts'
import { ConflictError, InternalError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { AlertsConfig } from '../config.ts'
import { DESKS_COLLECTION, type DeskDocument, type DeskEntry } from './incident-document.ts'

/** An entry's time of the last alert is written when it is this part of the window behind: not with each alert of a storm. */
const TOUCH_SHARE = 0.1

export type DeskLimits = Pick<
  AlertsConfig,
  'incidentWindowMs' | 'incidentBurstMs' | 'incidentsPerGroupMax' | 'incidentsPerCauseMax' | 'incidentsJoinableMax'
>

/** What decides which incident an alert joins. */
export interface Joining {
  tenant: string
  device: string
  type: string
  cause: string
  labels: Readonly<Record<string, string>>
}

export interface Decision {
  incident: { id: string; level: IncidentLevel }
  /** Null: the entries stay as they are. */
  entries: DeskEntry[] | null
}

/**
 * Pure: the incident of an alert that opens now. It joins that of its device, of its type, place and cause, or of its cause, whichever is
 * there; else it opens one, as narrow as may be: where several of the group, or of the cause, opened within the last while, something
 * bigger is wrong, and one wider incident takes the rest. So a storm from one cause makes `incidentsPerCauseMax` + 1 at most.
 */
export function decide(entries: readonly DeskEntry[], joining: Joining, nowMs: number, limits: DeskLimits): Decision {
  const group = groupOf(joining)
  const joinable = entries.filter((entry) => nowMs - entry.lastAt <= limits.incidentWindowMs)
  for (const level of INCIDENT_LEVELS) {
    const found = joinable.find((entry) => entry.level === level && fits(entry, level, joining, group))
    if (found === undefined) continue
    const isFresh = nowMs - found.lastAt < limits.incidentWindowMs * TOUCH_SHARE
    return {
      incident: { id: found.id, level },
      entries: isFresh ? null : joinable.map((entry) => (entry === found ? { ...entry, lastAt: nowMs } : entry)),
    }
  }
  const burst = joinable.filter((entry) => entry.cause === joining.cause && nowMs - entry.openedAt <= limits.incidentBurstMs)
  const ofGroup = burst.filter((entry) => entry.group === group)
  const level = burst.length >= limits.incidentsPerCauseMax ? 'cause' : ofGroup.length >= limits.incidentsPerGroupMax ? 'group' : 'device'
  const { device, cause } = joining
  const opened: DeskEntry = { id: newId(nowMs), level, device, group, cause, openedAt: nowMs, lastAt: nowMs }
  return { incident: { id: opened.id, level }, entries: [...joinable, opened].slice(-limits.incidentsJoinableMax) }
}

function fits(entry: DeskEntry, level: IncidentLevel, { device, cause }: Joining, group: string): boolean {
  if (level === 'device') return entry.device === device
  return level === 'group' ? entry.group === group : entry.cause === cause
}

function groupOf({ type, cause, labels }: Joining): string {
  return JSON.stringify([cause, type, labels[PLACE_LABEL] ?? ''])
}

/** Decides on the tenant's one document by compare-and-set, with the last one read in memory: most alerts of a storm need no read. */
export class IncidentDesk implements Service {
  readonly name = 'incident-desk'
  readonly #documents: Documents
  readonly #clock: Clock
  readonly #limits: DeskLimits & { casAttemptsMax: number }
  readonly #known = new Map<string, DeskDocument & Stored>()
  /** Decisions of one tenant wait for each other: they would only lose against each other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  #desks: Collection<DeskDocument> | undefined

  constructor(options: { documents: Documents; clock: Clock; config: DeskLimits & { casAttemptsMax: number } }) {
    this.#documents = options.documents
    this.#clock = options.clock
    this.#limits = options.config
  }

  async start(): Promise<void> {
    this.#desks ??= await this.#documents.collection<DeskDocument>(DESKS_COLLECTION)
  }

  async stop(): Promise<void> {
    this.#desks = undefined
    this.#known.clear()
  }

  /** The id of the incident. It is durable that alerts may join it; its own document is made when the first one has. */
  async assign(joining: Joining): Promise<Decision['incident']> {
    const { tenant } = joining
    const before = this.#turns.get(tenant) ?? Promise.resolve()
    const turn = before.then(
      () => this.#decide(joining),
      () => this.#decide(joining),
    )
    this.#turns.set(tenant, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(tenant) === turn) this.#turns.delete(tenant)
    }
  }

  async #decide(joining: Joining): Promise<Decision['incident']> {
    const { tenant } = joining
    for (let attempt = 1; attempt <= this.#limits.casAttemptsMax; attempt++) {
      const desk = this.#known.get(tenant) ?? (await this.#read(tenant))
      const { incident, entries } = decide(desk?.entries ?? [], joining, this.#clock.nowMs(), this.#limits)
      if (entries === null) return incident
      const written = await this.#write(tenant, desk, entries)
      if (written) return incident
      this.#known.delete(tenant)
    }
    throw new ConflictError(`incidents of ${tenant} were changed by others at every try`, { retryable: true, remedy: 'Try again.' })
  }

  async #read(tenant: string): Promise<(DeskDocument & Stored) | null> {
    const desk = await this.#collection().get(tenant)
    if (desk !== null) this.#known.set(tenant, desk)
    return desk
  }

  async #write(tenant: string, desk: (DeskDocument & Stored) | null, entries: DeskEntry[]): Promise<boolean> {
    const document: DeskDocument = { tenant, entries }
    const collection = this.#collection()
    const result = desk === null ? await collection.insert(tenant, document) : await collection.replace(tenant, desk.version, document)
    if (result.status !== 'written') return false
    this.#known.set(tenant, result.document)
    return true
  }

  #collection(): Collection<DeskDocument> {
    if (this.#desks === undefined) throw new InternalError('the incident desk is not started')
    return this.#desks
  }
}
