import type { Device } from './device.ts'

/** Who asks for a change, for the record: `user:NAME`, `device:ID` or `system`. */
export type Actor = string

export type Registration =
  | { status: 'registered'; device: Device; created: boolean }
  /** `unknown-type`: no such device type in the tenant. `other-type`: the device exists and is of another type. */
  | { status: 'refused'; reason: 'unknown-type' | 'other-type' | 'decommissioning' | 'decommissioned' }

export type Provisioning =
  | { status: 'provisioned'; device: Device }
  | { status: 'refused'; reason: 'unknown-device' | 'suspended' | 'decommissioning' | 'decommissioned' }

/**
 * What a door's template or the pre-provisioning hook decided about a device. It holds for one that has no certificate yet: labels are
 * added to those it has, and a type in its place where it is `generic`, which nobody chose. Later states keep what they have.
 */
export interface Assigned {
  labels: Record<string, string>
}

/**
 * What the enrolment doors ask of the device registry. Both calls are idempotent, safe to race with themselves, and durable before
 * they answer; they throw only for the engine's own trouble.
 */
export interface DeviceRegistrar {
  /**
   * Makes sure that the device exists: creates it in state `registered`, or finds it as it is.
   * `type` undefined means: the type it has, or `generic` for a new one.
   */
  ensureRegistered(tenant: string, device: string, type: string | undefined, by: Actor, assigned?: Assigned): Promise<Registration>
  /**
   * Called after a certificate was issued: `registered` becomes `provisioned`; `provisioned` and `active` stay as they are.
   */
  markProvisioned(tenant: string, device: string, by: Actor): Promise<Provisioning>
  /** The device as it is now, durable state (not the doors' view); undefined when unknown. Asked before a certificate is issued. */
  findDevice(tenant: string, device: string): Promise<Device | undefined>
}
