import type { Device, DeviceType } from '../contracts/device.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'

/** `announced` is false while the change still has to go to `device-events`. */
export type DeviceDocument = Device & { announced: boolean }
export type DeviceTypeDocument = DeviceType & { announced: boolean }

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
  const types = await documents.collection<DeviceTypeDocument>({ name: 'device-types', indexes: [{ name: 'by-id', paths: ['tenant', 'id'], unique: true }] })
  return { devices, types }
}
