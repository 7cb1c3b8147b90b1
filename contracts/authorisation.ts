/** Who acts. Devices are known by their certificate, people and programs by a token. */
export interface Principal {
  /** `claim`: the certificate of a production batch, which may ask for devices' certificates and nothing else. */
  kind: 'device' | 'claim' | 'user' | 'api-key' | 'system'
  id: string
  tenant: string
  roles: readonly Role[]
}

export type Role = 'admin' | 'operator' | 'viewer' | 'device'
export type Action = 'read' | 'write' | 'publish' | 'subscribe' | 'connect' | 'enrol' | 'revoke'

/** What is acted on: `kind` is the API's resource name or `topic`, `id` the device, topic or document. */
export interface Resource {
  tenant: string
  kind: string
  id?: string
}

/**
 * The one authorisation function: every route, command and subscription asks it. Default deny; tenants never meet.
 * Devices may publish and subscribe only under `devices/{themselves}/…`, and renew only their own certificate.
 */
export function authorise(principal: Principal, action: Action, resource: Resource): boolean {
  if (principal.tenant !== resource.tenant) return false
  if (principal.kind === 'system') return true
  if (principal.kind === 'device') return authoriseDevice(principal.id, action, resource)
  if (principal.kind === 'claim') return authoriseClaim(principal.id, action, resource)
  if (principal.roles.includes('admin')) return true
  if (principal.roles.includes('operator')) return action === 'read' || (action === 'write' && OPERATOR_WRITES.has(resource.kind))
  if (principal.roles.includes('viewer')) return action === 'read' && !SECRET_KINDS.has(resource.kind)
  return false
}

const OPERATOR_WRITES = new Set(['alerts', 'devices', 'findings', 'rejected', 'webhooks'])
const SECRET_KINDS = new Set(['users', 'api-keys', 'audit', 'enrolment-tokens'])

const UP = /^(telemetry|events|status|commands\/[^/+#]+\/result|twin\/reported|certificate\/renew)$/
const DOWN = /^(commands\/.+|twin\/.+|certificate|#)$/

/** A request's id, which its answer repeats. */
const CLAIM_UP = /^provisioning\/[A-Za-z0-9._-]{1,64}\/request$/
const CLAIM_DOWN = /^provisioning\/(?:\+|[A-Za-z0-9._-]{1,64})\/response$/

/** Under these two topics, which every connection has for itself alone; nothing of a device. */
function authoriseClaim(claim: string, action: Action, resource: Resource): boolean {
  if (action === 'connect') return resource.kind === 'session' && resource.id === claim
  if (resource.kind !== 'topic' || resource.id === undefined) return false
  if (action === 'publish') return CLAIM_UP.test(resource.id)
  return action === 'subscribe' && CLAIM_DOWN.test(resource.id)
}

function authoriseDevice(device: string, action: Action, resource: Resource): boolean {
  if (action === 'connect') return resource.kind === 'session' && resource.id === device
  if (action === 'enrol') return resource.kind === 'certificate' && resource.id === device
  if (resource.kind !== 'topic' || resource.id === undefined) return false
  const prefix = `devices/${device}/`
  if (!resource.id.startsWith(prefix)) return false
  const rest = resource.id.slice(prefix.length)
  if (action === 'publish') return UP.test(rest)
  if (action === 'subscribe') return DOWN.test(rest) || UP.test(rest)
  return false
}
