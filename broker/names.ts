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
