import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join as pathOf } from 'node:path'
import type { Ready } from '../app/ready.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { systemClock } from '../kernel/time.ts'
import { readDeviceBundle, writeDeviceBundle, type DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { Fleet } from '../simulators/fleet.ts'
import { ApiClient } from './api-client.ts'
import { enrolOverEst, estAddress } from './enrol.ts'
import { ensureSimulatedTypes } from './simulated-types.ts'

export interface RunningSimulation {
  stop(): Promise<void>
}

/** Readings per device and second: few enough to watch, and detectors have learnt within a minute and a half. */
const READINGS_PER_DEVICE_S = 2
const SEED = 1
const INFLIGHT_MAX = 20
/** The first fault comes when detectors know the devices, then one a minute. */
const FAULTS = { quietMs: 90_000, everyMs: 60_000, lastsMs: 20_000 }

/**
 * Runs a small fleet against the platform that was just started; its certificates are kept in the data folder for the next start.
 * The platform runs on when the fleet cannot join.
 */
export function simulateHere(options: { devices: number; ready: Ready; log: Logger }): RunningSimulation {
  const { devices, ready, log } = options
  const api = ApiClient.find({ data: ready.data })
  const est = estAddress(api, {})
  const enrol = async (device: string, type: string): Promise<DeviceBundle> => {
    const folder = pathOf(ready.data, 'simulated-devices', device)
    const kept = await readDeviceBundle(folder)
    if (kept !== undefined && isUsable(kept, readFileSync(pathOf(ready.data, 'pki', 'ca.pem'), 'utf8'))) return kept
    const bundle = await enrolOverEst(api, est, device, type)
    await writeDeviceBundle(folder, bundle)
    return bundle
  }
  const fleet = new Fleet({
    devices,
    ratePerS: devices * READINGS_PER_DEVICE_S,
    seed: SEED,
    idPrefix: 'sim-',
    host: 'localhost',
    mqttsPort: ready.mqtts,
    clock: systemClock,
    log: log.child({ part: 'simulator' }),
    enrol,
    inflightMax: INFLIGHT_MAX,
    renewal: () => ({ over: 'mqtt', keep: (device, bundle) => writeDeviceBundle(pathOf(ready.data, 'simulated-devices', device), bundle) }),
    faults: FAULTS,
  })
  const join = async (): Promise<void> => {
    await ensureSimulatedTypes(api)
    await fleet.connect()
    fleet.run()
  }
  const joined = join().catch((error: unknown) => log.error({ error: describeError(error) }, 'the simulated fleet could not join'))
  return {
    stop: async () => {
      fleet.stop()
      await joined
      await api.close()
    },
  }
}

/** Of this platform, not over, and whole: a crash may have come between its files. */
function isUsable({ keyPem, certPem, caPem }: DeviceBundle, platformCaPem: string): boolean {
  const certificate = new X509Certificate(certPem)
  return caPem === platformCaPem && Date.parse(certificate.validTo) > systemClock.nowMs() && certificate.checkPrivateKey(createPrivateKey(keyPem))
}
