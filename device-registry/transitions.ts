import type { DeviceState } from '../contracts/device.ts'

/** Where each state may go; the tombstone is final. */
const NEXT: Readonly<Record<DeviceState, readonly DeviceState[]>> = {
  registered: ['provisioned', 'suspended', 'quarantined', 'decommissioning', 'decommissioned'],
  provisioned: ['active', 'suspended', 'quarantined', 'decommissioning', 'decommissioned'],
  active: ['suspended', 'quarantined', 'decommissioning', 'decommissioned'],
  suspended: ['active', 'quarantined', 'decommissioning', 'decommissioned'],
  quarantined: ['active', 'suspended', 'decommissioning', 'decommissioned'],
  decommissioning: ['decommissioned'],
  decommissioned: [],
}

export function isLegalTransition(from: DeviceState, to: DeviceState): boolean {
  return NEXT[from].includes(to)
}

/** The states from which `to` can be reached. */
export function statesBefore(to: DeviceState): DeviceState[] {
  return (Object.keys(NEXT) as DeviceState[]).filter((from) => isLegalTransition(from, to))
}
