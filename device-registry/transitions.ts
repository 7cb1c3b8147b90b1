import type { DeviceState } from '../contracts/device.ts'

/** Where a device was before it was suspended or quarantined, and where it goes on. */
export type RoadState = 'registered' | 'provisioned' | 'active'

/** Where each state may go; the tombstone is final, and reached by decommissioning alone. */
const NEXT: Readonly<Record<DeviceState, readonly DeviceState[]>> = {
  registered: ['provisioned', 'suspended', 'quarantined', 'decommissioning'],
  provisioned: ['active', 'suspended', 'quarantined', 'decommissioning'],
  active: ['suspended', 'quarantined', 'decommissioning'],
  // Back on the road only to where it was: see `Held`.
  suspended: ['registered', 'provisioned', 'active', 'quarantined', 'decommissioning'],
  quarantined: ['registered', 'provisioned', 'active', 'suspended', 'decommissioning'],
  decommissioning: ['decommissioned'],
  decommissioned: [],
}

/** A device as far as its next step depends on it. */
export interface Standing {
  state: DeviceState
  /** Only while it is suspended or quarantined. */
  heldFrom?: RoadState | undefined
}

/** Can some device go from one state to the other? */
export function isLegalTransition(from: DeviceState, to: DeviceState): boolean {
  return NEXT[from].includes(to)
}

/** May this device go there now? A held one goes back to where it was taken from, and nowhere else on the road. */
export function mayBecome(standing: Standing, to: DeviceState): boolean {
  if (!isLegalTransition(standing.state, to)) return false
  return !isHeld(standing.state) || !isRoad(to) || to === returnOf(standing)
}

/** Where a held device goes back to. Documents of before this was kept were held from `active`, or could become it. */
export function returnOf({ heldFrom }: Standing): RoadState {
  return heldFrom ?? 'active'
}

/** What is to be remembered of where it comes from, in its next state. */
export function heldFromAfter(standing: Standing, to: DeviceState): RoadState | undefined {
  if (!isHeld(to)) return undefined
  return isRoad(standing.state) ? standing.state : returnOf(standing)
}

export function isHeld(state: DeviceState): state is 'suspended' | 'quarantined' {
  return state === 'suspended' || state === 'quarantined'
}

/** The states from which `to` can be reached. */
export function statesBefore(to: DeviceState): DeviceState[] {
  return (Object.keys(NEXT) as DeviceState[]).filter((from) => isLegalTransition(from, to))
}

function isRoad(state: DeviceState): state is RoadState {
  return state === 'registered' || state === 'provisioned' || state === 'active'
}

/** The name of a step in the audit trail. */
export function actionOf(from: DeviceState | null, to: DeviceState): string {
  if (from !== null && isHeld(from) && isRoad(to)) return 'device.resume'
  return `device.${VERBS[to]}`
}

const VERBS: Readonly<Record<DeviceState, string>> = {
  registered: 'register',
  provisioned: 'provision',
  active: 'activate',
  suspended: 'suspend',
  quarantined: 'quarantine',
  decommissioning: 'decommission',
  decommissioned: 'tombstone',
}
