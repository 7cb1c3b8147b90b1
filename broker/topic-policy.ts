import { authorise, type Action, type Principal } from '../contracts/authorisation.ts'
import { devicePrincipal } from './device-session.ts'
import { partiesOf, topicPrefixOf } from './names.ts'

/** May this principal use this topic or filter, named as the device names it? */
export function mayUseTopic(principal: Principal, action: Extract<Action, 'publish' | 'subscribe'>, topic: string): boolean {
  return authorise(principal, action, { tenant: principal.tenant, kind: 'topic', id: topic })
}

/** May the session with this id inside Aedes hold this filter, named as Aedes knows it? */
export function mayHoldFilter(sessionId: string, filter: string): boolean {
  const parties = partiesOf(sessionId)
  if (parties === undefined) return false
  const prefix = topicPrefixOf(parties.tenant)
  const principal = devicePrincipal(parties.tenant, parties.device)
  return filter.startsWith(prefix) && mayUseTopic(principal, 'subscribe', filter.slice(prefix.length))
}

/** The part of a device's topic below `devices/{device}/`. */
export function pathBelowDevice(device: string, topic: string): string {
  return topic.slice('devices/'.length + device.length + 1)
}
