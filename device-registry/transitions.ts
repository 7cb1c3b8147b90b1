import type { DeviceState } from '../contracts/device.ts'

/** Where each state may go; the tombstone is final. */
const NEXT: Readonly<Record<DeviceState, readonly DeviceState[]>> = {
  registered: ['provisioned', 'suspended', 'decommissioned'],
  provisioned: ['active', 'suspended', 'decommissioned'],
  active: ['suspended', 'decommissioned'],
  suspended: ['active', 'decommissioned'],
  decommissioned: [],
}

export function isLegalTransition(from: DeviceState, to: DeviceState): boolean {
  return NEXT[from].includes(to)
}

/** The states from which `to` can be reached. */
export function statesBefore(to: DeviceState): DeviceState[] {
  return (Object.keys(NEXT) as DeviceState[]).filter((from) => isLegalTransition(from, to))
}
