import type { Device, DeviceState, DeviceType } from '../contracts/device.ts'
import { deviceKey } from '../contracts/topics.ts'

interface Tenant {
  devices: Map<string, Device>
  types: Map<string, DeviceType>
}

const ANY_ISSUER = ''
/** One object for all devices without labels. */
export const NO_LABELS: Readonly<Record<string, string>> = Object.freeze({})

/** Devices, types and revoked serials in memory: lookups for every connect and publish, about a quarter of a kilobyte per device. */
export class KnownDevices {
  readonly #tenants = new Map<string, Tenant>()
  /** Issuers by serial; an empty text stands for any issuer. */
  readonly #revoked = new Map<string, readonly string[]>()
  /** Devices whose last valid certificate was revoked. */
  readonly #cutOff = new Set<string>()
  /** One text for each that many devices share: tenants, types and states. */
  readonly #shared = new Map<string, string>()

  device(tenant: string, device: string): Device | undefined {
    return this.#tenants.get(tenant)?.devices.get(device)
  }

  type(tenant: string, type: string): DeviceType | undefined {
    return this.#tenants.get(tenant)?.types.get(type)
  }

  /** A certificate is named by its issuer and serial, RFC 5280 §4.1.2.2; where the issuer is not known, the serial alone decides. */
  isRevoked(serial: string, issuer: string | undefined): boolean {
    const issuers = this.#revoked.get(serial)
    return issuers !== undefined && (issuer === undefined || issuers.includes(ANY_ISSUER) || issuers.includes(issuer))
  }

  revoke(serial: string, issuer: string = ANY_ISSUER): void {
    const issuers = this.#revoked.get(serial) ?? []
    if (!issuers.includes(issuer)) this.#revoked.set(serial, [...issuers, this.#share(issuer)])
  }

  isCutOff(tenant: string, device: string): boolean {
    return this.#cutOff.has(deviceKey(tenant, device))
  }
  cutOff(tenant: string, device: string): void {
    this.#cutOff.add(deviceKey(tenant, device))
  }
  reconnect(tenant: string, device: string): void {
    this.#cutOff.delete(deviceKey(tenant, device))
  }

  /** Keeps the contract's fields of a device, whatever else the object has. */
  putDevice({ id, tenant, type, state, labels, createdAt, updatedAt }: Device): void {
    const device: Device = {
      id,
      tenant: this.#share(tenant),
      type: this.#share(type),
      state: this.#share(state),
      labels: Object.keys(labels).length === 0 ? NO_LABELS : labels,
      createdAt,
      updatedAt,
    }
    this.#tenant(tenant).devices.set(id, device)
  }

  /** What an event says of a device until its document was read. */
  setState(tenant: string, device: string, state: DeviceState): void {
    const known = this.device(tenant, device)
    if (known !== undefined && known.state !== state) this.putDevice({ ...known, state })
  }

  removeDevice(tenant: string, device: string): void {
    this.#tenants.get(tenant)?.devices.delete(device)
  }

  putType(type: DeviceType): void {
    this.#tenant(type.tenant).types.set(type.id, type)
  }

  clear(): void {
    this.#tenants.clear()
    this.#revoked.clear()
    this.#cutOff.clear()
    this.#shared.clear()
  }

  #tenant(name: string): Tenant {
    let tenant = this.#tenants.get(name)
    if (tenant === undefined) {
      tenant = { devices: new Map(), types: new Map() }
      this.#tenants.set(name, tenant)
    }
    return tenant
  }

  #share<S extends string>(text: S): S {
    const known = this.#shared.get(text)
    if (known !== undefined) return known as S
    this.#shared.set(text, text)
    return text
  }
}
