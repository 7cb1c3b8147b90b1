import type { IncidentLevel } from '../../contracts/alert.ts'
import type { Incident, IncidentChangeKind } from '../../contracts/incident.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'

/** What somebody did to an incident as a whole and its alerts still have to follow. */
export interface Spread {
  action: 'acknowledge' | 'resolve'
  by: string
  note: string
}

/** An incident as it is stored. */
export interface IncidentDocument extends Incident {
  sequence: number
  /** Changes whose messages may not be in the log yet. */
  outbox: { sequence: number; change: IncidentChangeKind }[]
  unpublishedSince: number | null
  /** Counts what its alerts told: a count of them that was begun before the last is not the last word. */
  taken: number
  spread: Spread | null
  /** Wall time at which its alerts are counted anew, or follow a spread; null when nothing is due. */
  dueAt: number | null
}
export type StoredIncident = IncidentDocument & Stored

export const INCIDENTS_COLLECTION: CollectionSpec = {
  name: 'incidents',
  indexes: [
    { name: 'newest', paths: ['tenant', 'id'] },
    { name: 'by-state', paths: ['tenant', 'state', 'id'] },
    { name: 'by-due', paths: ['dueAt'] },
    { name: 'unpublished', paths: ['unpublishedSince'] },
    { name: 'resolved', paths: ['resolvedAt'] },
  ],
}

/** An incident that alerts may join still. */
export interface DeskEntry {
  id: string
  level: IncidentLevel
  device: string
  /** Type, place and cause. */
  group: string
  cause: string
  openedAt: number
  /** Of the last alert that joined, exact to `DESK_TOUCH_SHARE` of the window. */
  lastAt: number
}
/** The incidents of a tenant that alerts may join. One document, so that two processes can't open two for the same. */
export interface DeskDocument {
  tenant: string
  entries: DeskEntry[]
}
export const DESKS_COLLECTION: CollectionSpec = { name: 'incident-desks', indexes: [] }

export function incidentOf(document: IncidentDocument | StoredIncident): Incident {
  const { sequence, taken, outbox, unpublishedSince, spread, dueAt, ...rest } = document
  const { _id, version, ...incident } = rest as typeof rest & Partial<Stored>
  return incident
}
