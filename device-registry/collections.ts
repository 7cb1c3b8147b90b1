import type { Device, DeviceTransition, DeviceType } from '../contracts/device.ts'
import { ConflictError } from '../kernel/errors.ts'
import type { Collection, Documents, Stored, Update } from '../storage/documents/documents.ts'
import type { RoadState } from './transitions.ts'

/** What the registry keeps beside a device or type. */
export interface Kept {
  /** False while the change still has to go to `device-events`. */
  announced: boolean
  /** Grows by one with each change of the content; the store's own version also counts announcements. */
  revision: number
}
/** The steps of its life; absent in documents of before they were kept. */
export interface KeptLife {
  /** The last ones, oldest first. */
  history?: DeviceTransition[]
  /** Numbers of steps that the audit trail does not have yet. */
  unaudited?: number[]
  /** While it is suspended or quarantined: where it was before, and where it goes back to. */
  heldFrom?: RoadState
}
export type DeviceDocument = Device & Kept & KeptLife
export type DeviceTypeDocument = DeviceType & Kept

export interface RegistryCollections {
  devices: Collection<DeviceDocument>
  types: Collection<DeviceTypeDocument>
}

/** Ids are `${tenant}/${id}`. */
export async function openRegistryCollections(documents: Documents): Promise<RegistryCollections> {
  const devices = await documents.collection<DeviceDocument>({
    name: 'devices',
    indexes: [
      { name: 'by-id', paths: ['tenant', 'id'], unique: true },
      { name: 'by-type', paths: ['tenant', 'type', 'id'] },
      { name: 'by-state', paths: ['tenant', 'state', 'id'] },
      { name: 'by-announced', paths: ['announced'] },
      { name: 'by-unaudited', paths: ['unaudited'] },
    ],
  })
  const types = await documents.collection<DeviceTypeDocument>({
    name: 'device-types',
    indexes: [
      { name: 'by-id', paths: ['tenant', 'id'], unique: true },
      { name: 'by-announced', paths: ['announced'] },
    ],
  })
  return { devices, types }
}

/** What others see of a stored device or type: its content, and the revision as its version. */
export type View<T> = T & { version: number }

export function viewOf(document: DeviceDocument & Stored): View<Device>
export function viewOf(document: DeviceTypeDocument & Stored): View<DeviceType>
export function viewOf(document: (DeviceDocument | DeviceTypeDocument) & Stored): View<Device | DeviceType> {
  const { announced: _announced, _id, revision, ...content } = document
  if (!('state' in content)) return { ...content, version: revision }
  const { history: _history, unaudited: _unaudited, heldFrom: _heldFrom, ...device } = content
  return { ...device, version: revision }
}

/** An update that changes content and leaves the change to be announced. */
export function markedChange(set: object, nowMs: number): Update {
  return { $set: { ...set, updatedAt: nowMs, announced: false }, $inc: { revision: 1 } }
}

export function changedMeanwhile(what: string): ConflictError {
  return new ConflictError(`${what} was changed meanwhile`, { code: 'VERSION_MISMATCH', remedy: 'Read it again and repeat the change.' })
}
