import type { Device, DeviceState, DeviceType } from './device.ts'

export type Admission =
  | { status: 'admitted'; device: Device }
  | { status: 'refused'; reason: 'unknown-device' | 'suspended' | 'decommissioned' | 'certificate-revoked' }

/** A device, or one certificate of it, that may no longer be here. */
export interface Expelled {
  tenant: string
  device: string
  /** The revoked certificate; absent when the device goes with all of them. */
  serial?: string
  /** Key id of the CA that signed it; absent where it is not known. */
  issuer?: string
  reason: string
  /** Epoch ms at which it was asked for, where that is known. */
  at?: number
  /** The device has no valid certificate left: what waits for it is cancelled. */
  isLast?: boolean
}

/**
 * What the doors know of devices without asking anyone: an in-memory view, kept up to date from the `device-events` topic.
 * Synchronous, because it is asked on every connect and every publish.
 */
export interface RegistryView {
  /**
   * May this certificate's device connect? `serial` in upper-case hex. Two CAs may give the same serial (RFC 5280 §4.1.2.2): with `issuer`, the
   * key id of the CA that signed it, only the revocation of that CA's certificate counts; without, that of any.
   */
  admit(tenant: string, device: string, serial: string, issuer?: string): Admission
  /** Where a known device is in its life; undefined for an unknown one. */
  stateOf(tenant: string, device: string): DeviceState | undefined
  /** The type of a known device; undefined for an unknown one. */
  typeOf(tenant: string, device: string): DeviceType | undefined
  /**
   * Calls back when live sessions must end: a revoked certificate (`serial` given) or a device that may no longer connect.
   * Returns the way to stop listening.
   */
  onExpelled(listener: (expelled: Expelled) => void): () => void
}

/** A factory CA or a claim that changed. */
export interface TrustChange {
  tenant: string
  kind: 'factory' | 'claim'
  id: string
}
