/** What alerts ask about a device. */
export interface DeviceFacts {
  /** The operator's labels; none for an unknown device. */
  labelsOf(tenant: string, device: string): Promise<Record<string, string>>
}

/** Label that names the device behind which another one lies: while that is silent, the other's alerts are quiet. */
export const GATEWAY_LABEL = 'gateway'
/** Label that names where a device is, for grouping alerts. */
export const PLACE_LABEL = 'site'
