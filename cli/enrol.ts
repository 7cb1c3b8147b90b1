import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EnvironmentError, InvalidInputError } from '../kernel/errors.ts'
import { enrolDevice, type DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { EstClient } from '../provisioning/doors/est-client.ts'
import type { ApiClient } from './api-client.ts'

/** Where and with what trust the platform's EST server is reached. */
export interface EstAddress {
  origin: string
  caPem: string
}

/** EST address from the platform's data folder, or `--est` and `--ca`. */
export function estAddress(api: ApiClient, options: { est?: string; ca?: string }): EstAddress {
  const origin = options.est ?? (api.runtime === null ? undefined : `https://localhost:${api.runtime.https}`)
  if (origin === undefined) throw new EnvironmentError('PLATFORM_UNREACHABLE', 'the address of the EST server is not known', { remedy: 'Name it with --est https://HOST:8443 and its trust with --ca FILE.' })
  return { origin, caPem: readTrust(options.ca ?? join(api.dataDirectory, 'pki', 'ca.pem')) }
}

function readTrust(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new InvalidInputError(`the trust for the EST server, ${path}, cannot be read`, {
      cause: error,
      remedy: 'Name the file with --ca, or the data folder that holds pki/ca.pem with --data.',
    })
  }
}

/** Registers a device, gets a one-time token, and enrols over EST: the key is made here and stays here. */
export async function enrolOverEst(api: ApiClient, est: EstAddress, device: string, type: string): Promise<DeviceBundle> {
  const { token } = await api.post<{ token: string }>('/enrolment-tokens', { deviceId: device, type })
  const client = new EstClient(est)
  try {
    return await enrolDevice(device, (csrPem) => client.enrol(csrPem, { deviceId: device, token }))
  } finally {
    await client.close()
  }
}
