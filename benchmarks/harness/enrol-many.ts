import { join } from 'node:path'
import { GENERIC_TYPE } from '../../contracts/device.ts'
import { enrolDevice, writeDeviceBundle } from '../../provisioning/doors/device-bundle.ts'
import { EstClient } from '../../provisioning/doors/est-client.ts'

const ENROL_AT_ONCE = 8

export interface EnrolMany {
  devices: readonly string[]
  /** Default: `generic`. */
  type?: string
  /** Folder with one folder of certificates per device. */
  certs: string
  /** Origin of the EST server, and what it is trusted by. */
  origin: string
  caPem: string
  /** POST below /api/v1. */
  post<T>(path: string, body: object): Promise<{ body: T }>
}

/** Tokens from the API, certificates over EST. */
export async function enrolMany({ devices, type = GENERIC_TYPE, certs, origin, caPem, post }: EnrolMany): Promise<void> {
  const est = new EstClient({ origin, caPem })
  const waiting = devices.values()
  const enrolNext = async (): Promise<void> => {
    for (const device of waiting) {
      const { body } = await post<{ token: string }>('/enrolment-tokens', { deviceId: device, type })
      const bundle = await enrolDevice(device, (csr) => est.enrol(csr, { deviceId: device, token: body.token }))
      await writeDeviceBundle(join(certs, device), bundle)
    }
  }
  try {
    await Promise.all(Array.from({ length: ENROL_AT_ONCE }, enrolNext))
  } finally {
    await est.close()
  }
}
