/**
 * Aedes knows one space of client ids and topics; tenants share it behind prefixes that devices never see. Neither a tenant nor a device
 * id may hold a slash, so names of two tenants or devices never meet.
 */

/** The client id inside Aedes. */
export function sessionIdOf(tenant: string, device: string): string {
  return `${tenant}/${device}`
}

/** What stands before every topic and filter of a tenant inside Aedes. */
export function topicPrefixOf(tenant: string): string {
  return `${tenant}/`
}

/** Tenant and device of a client id inside Aedes, or undefined when it is not one. */
export function partiesOf(sessionId: string): { tenant: string; device: string } | undefined {
  const slash = sessionId.indexOf('/')
  return slash <= 0 ? undefined : { tenant: sessionId.slice(0, slash), device: sessionId.slice(slash + 1) }
}

/** The first three levels of every topic of a device inside Aedes: what is retained for it is kept under them. */
export function topicGroupOf(sessionId: string): string {
  const slash = sessionId.indexOf('/')
  return `${sessionId.slice(0, slash)}/devices/${sessionId.slice(slash + 1)}`
}

/** The client id inside Aedes of the device whose topic, or group of topics, this is; undefined when it is no device's. */
export function sessionIdOfTopic(topic: string): string | undefined {
  const [tenant, devices, device] = topic.split('/', 3)
  return tenant === undefined || device === undefined || devices !== 'devices' ? undefined : sessionIdOf(tenant, device)
}
