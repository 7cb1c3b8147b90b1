import type { DeviceEvent } from '../../contracts/device-event.ts'
import { GENERIC_TYPE, type Device, type DeviceState, type DeviceType } from '../../contracts/device.ts'
import type { Actor, Assigned, DeviceRegistrar, Provisioning, Registration } from '../../contracts/registrar.ts'
import type { Admission, Expelled, RegistryView, TrustChange } from '../../contracts/registry-view.ts'
import type { Certificates } from '../certificates.ts'

/** The device registry as the doors see it, scripted: its real rules are tested with it. */
export class RegistrarDouble implements DeviceRegistrar, RegistryView {
  readonly devices = new Map<string, Device>()
  readonly revokedSerials = new Set<string>()
  readonly #listeners = new Set<(expelled: Expelled) => void>()
  readonly #trustListeners = new Set<(change: TrustChange) => void>()
  readonly #types = new Set([GENERIC_TYPE, 'pump'])

  ensureRegistered(tenant: string, device: string, type: string | undefined, _by?: Actor, assigned?: Assigned): Promise<Registration> {
    const known = this.devices.get(`${tenant}/${device}`)
    if (type !== undefined && !this.#types.has(type)) return Promise.resolve({ status: 'refused', reason: 'unknown-type' })
    if (known?.state === 'decommissioning' || known?.state === 'decommissioned')
      return Promise.resolve({ status: 'refused', reason: known.state })
    const retypes = assigned !== undefined && known?.state === 'registered' && known.type === GENERIC_TYPE && type !== undefined
    if (retypes) known.type = type
    if (known !== undefined && type !== undefined && known.type !== type)
      return Promise.resolve({ status: 'refused', reason: 'other-type' })
    const found = known ?? { id: device, tenant, type: type ?? GENERIC_TYPE, state: 'registered', labels: {}, createdAt: 0, updatedAt: 0 }
    if (found.state === 'registered') found.labels = { ...found.labels, ...assigned?.labels }
    this.devices.set(`${tenant}/${device}`, found)
    return Promise.resolve({ status: 'registered', device: found, created: known === undefined })
  }

  markProvisioned(tenant: string, device: string): Promise<Provisioning> {
    const found = this.devices.get(`${tenant}/${device}`)
    if (found === undefined) return Promise.resolve({ status: 'refused', reason: 'unknown-device' })
    if (found.state === 'suspended' || found.state === 'decommissioning' || found.state === 'decommissioned')
      return Promise.resolve({ status: 'refused', reason: found.state })
    if (found.state === 'registered') found.state = 'provisioned'
    return Promise.resolve({ status: 'provisioned', device: found })
  }

  findDevice(tenant: string, device: string): Promise<Device | undefined> {
    return Promise.resolve(this.devices.get(`${tenant}/${device}`))
  }

  admit(tenant: string, device: string, serial: string): Admission {
    const found = this.devices.get(`${tenant}/${device}`)
    if (found === undefined) return { status: 'refused', reason: 'unknown-device' }
    if (this.revokedSerials.has(serial)) return { status: 'refused', reason: 'certificate-revoked' }
    if (found.state === 'suspended' || found.state === 'decommissioned') return { status: 'refused', reason: found.state }
    return { status: 'admitted', device: found }
  }

  stateOf(tenant: string, device: string): DeviceState | undefined {
    return this.devices.get(`${tenant}/${device}`)?.state
  }

  typeOf(tenant: string, device: string): DeviceType | undefined {
    const found = this.devices.get(`${tenant}/${device}`)
    if (found === undefined) return undefined
    const limits = { silenceAfterMs: null, futureToleranceMs: 0, earliestTs: 0, createdAt: 0, updatedAt: 0 }
    return { id: found.type, tenant, open: true, metrics: {}, ...limits }
  }

  onExpelled(listener: (expelled: Expelled) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  hasType(type: string): boolean {
    return this.#types.has(type)
  }

  onTrustChanged(listener: (change: TrustChange) => void): () => void {
    this.#trustListeners.add(listener)
    return () => this.#trustListeners.delete(listener)
  }

  /** Takes an event of the log as the registry's view does. */
  note(event: DeviceEvent): void {
    if (event.event === 'trust-changed') for (const listener of this.#trustListeners) listener(event)
    if (event.event !== 'certificate-revoked') return
    const { tenant, device, serial, reason, at } = event
    this.revokedSerials.add(serial)
    for (const listener of this.#listeners) listener({ tenant, device, serial, reason, at })
  }

  setState(tenant: string, device: string, state: DeviceState): void {
    const found = this.devices.get(`${tenant}/${device}`)
    if (found !== undefined) found.state = state
  }

  /** Revokes, and tells the doors as the registry does when it reads the event. */
  async revokeAndExpel(certificates: Certificates, tenant: string, device: string, serial: string): Promise<void> {
    const { revokedAt } = await certificates.revoke(tenant, serial, 'keyCompromise')
    this.revokedSerials.add(serial)
    for (const listener of this.#listeners) listener({ tenant, device, serial, reason: 'certificate-revoked', at: revokedAt ?? 0 })
  }
}
