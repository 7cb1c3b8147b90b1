import type { Device, DeviceType } from '../contracts/device.ts'
import { ConflictError } from '../kernel/errors.ts'
import type { Collection, Documents, Stored, Update } from '../storage/documents/documents.ts'

/** What the registry keeps beside a device or type. */
export interface Kept {
  /** False while the change still has to go to `device-events`. */
  announced: boolean
  /** Grows by one with each change of the content; the store's own version also counts announcements. */
  revision: number
}
export type DeviceDocument = Device & Kept
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
  return { ...content, version: revision }
}

/** An update that changes content and leaves the change to be announced. */
export function markedChange(set: object, nowMs: number): Update {
  return { $set: { ...set, updatedAt: nowMs, announced: false }, $inc: { revision: 1 } }
}

export function changedMeanwhile(what: string): ConflictError {
  return new ConflictError(`${what} was changed meanwhile`, { code: 'VERSION_MISMATCH', remedy: 'Read it again and repeat the change.' })
}
