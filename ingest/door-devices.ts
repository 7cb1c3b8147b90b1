import type { DeviceRegistrar } from '../contracts/registrar.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import type { RejectReason } from '../contracts/reading.ts'
import { TimeoutError } from '../kernel/errors.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { MqttDoorConfig } from './mqtt-door-config.ts'

/** May this device's message be taken? `unknown` is settled by `register`. */
export type Standing = { status: 'known' } | { status: 'unknown' } | { status: 'refused'; reason: RejectReason; detail: string }

export interface DoorDevice {
  tenant: string
  device: string
  type: string | undefined
}

/** How often the view is asked for a device that was just registered, in ms. */
const ASK_AGAIN_MS = 20

/** Devices that come through somebody else's broker: known, refused, or to be registered. */
export class DoorDevices {
  readonly #options: {
    config: MqttDoorConfig
    clock: Clock
    registryView: RegistryView
    registrar: Pick<DeviceRegistrar, 'ensureRegistered'>
  }

  constructor(options: {
    config: MqttDoorConfig
    clock: Clock
    registryView: RegistryView
    registrar: Pick<DeviceRegistrar, 'ensureRegistered'>
  }) {
    this.#options = options
  }

  standingOf({ tenant, device }: DoorDevice): Standing {
    // It shows no certificate, so there is no serial that could be revoked.
    const admission = this.#options.registryView.admit(tenant, device, '')
    if (admission.status === 'admitted') return { status: 'known' }
    if (admission.reason !== 'unknown-device')
      return { status: 'refused', reason: 'device-refused', detail: `the device is refused: ${admission.reason}` }
    if (this.#options.config.unknownDevices === 'register') return { status: 'unknown' }
    return {
      status: 'refused',
      reason: 'unknown-device',
      detail: 'the device is not in the registry, and mqttDoor.unknownDevices is "reject"',
    }
  }

  /** Registers a device and waits until this door knows it. Throws TimeoutError when that takes too long. */
  async register(device: DoorDevice): Promise<Standing> {
    const { config, clock, registrar } = this.#options
    const type = device.type ?? config.deviceType
    const registration = await registrar.ensureRegistered(device.tenant, device.device, type, 'system')
    if (registration.status === 'refused' && registration.reason !== 'other-type') {
      const detail =
        registration.reason === 'unknown-type' ? `there is no device type ${type}` : `the device is refused: ${registration.reason}`
      return { status: 'refused', reason: registration.reason === 'unknown-type' ? 'unknown-device' : 'device-refused', detail }
    }
    const deadlineMs = clock.monotonicMs() + config.registerTimeoutMs
    for (;;) {
      const standing = this.standingOf(device)
      if (standing.status !== 'unknown') return standing
      if (clock.monotonicMs() >= deadlineMs)
        throw new TimeoutError(`the registry's view did not learn of ${device.device} within ${config.registerTimeoutMs} ms`)
      await sleep(clock, ASK_AGAIN_MS)
    }
  }
}
