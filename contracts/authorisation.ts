import { DEFAULT_TENANT } from './device.ts'

/** Who acts. Devices are known by their certificate, people and programs by a token. */
export interface Principal {
  /**
   * `claim`: the certificate of a production batch, which may ask for devices' certificates and nothing else. `agent`: one that is
   * introduced and runs elsewhere; it may look at what agents talk about, and changes nothing.
   */
  kind: 'device' | 'claim' | 'user' | 'api-key' | 'agent' | 'system'
  id: string
  tenant: string
  roles: readonly Role[]
  /** Narrows what its roles give it, `ACTION:KIND` each, `*` for any; absent: to nothing. */
  scopes?: readonly string[]
}

export type Role = 'admin' | 'operator' | 'viewer' | 'device'
/** Roles that an API key can have. */
export const KEY_ROLES = ['admin', 'operator', 'viewer'] as const satisfies readonly Role[]
export type KeyRole = (typeof KEY_ROLES)[number]
export type Action = 'transfer' | 'read' | 'write' | 'publish' | 'subscribe' | 'connect' | 'enrol' | 'revoke'

/** What is acted on: `kind` is the API's resource name or `topic`, `id` the device, topic or document. */
export interface Resource {
  tenant: string
  kind: string
  id?: string
}

/**
 * The one authorisation function: every route, command and subscription asks it. Default deny; tenants never meet, but where an
 * administrator of the tenant `default`, who runs the installation, transfers a device.
 * Devices may publish and subscribe only under `devices/{themselves}/…`, and renew only their own certificate.
 */
export function authorise(principal: Principal, action: Action, resource: Resource): boolean {
  // From one tenant to another: only who runs the installation has a say in both.
  if (action === 'transfer') return mayTransfer(principal, resource)
  if (principal.tenant !== resource.tenant) return false
  if (principal.kind === 'system') return true
  if (principal.kind === 'device') return authoriseDevice(principal.id, action, resource)
  if (principal.kind === 'claim') return authoriseClaim(principal.id, action, resource)
  // Whoever is known may be told who that is.
  if (action === 'read' && resource.kind === 'session') return true
  if (principal.kind === 'agent') return action === 'read' && AGENT_READS.has(resource.kind)
  if (!isInScope(principal, action, resource.kind)) return false
  // A key that could make keys would outlive its revocation.
  if (principal.kind === 'api-key' && action !== 'read' && resource.kind === 'api-keys') return false
  if (principal.roles.includes('admin')) return true
  if (principal.roles.includes('operator')) return action === 'read' || (action === 'write' && OPERATOR_WRITES.has(resource.kind))
  if (principal.roles.includes('viewer')) return action === 'read' && !SECRET_KINDS.has(resource.kind)
  return false
}

/** For the record: `user:NAME`, `api-key:ID`, `agent:ID`. */
export function actorOf({ kind, id }: Pick<Principal, 'kind' | 'id'>): string {
  return `${kind}:${id}`
}

/** One scope of an API key. */
export const SCOPE_PATTERN = '^(?:read|write|revoke|enrol|\\*):(?:[a-z][a-z-]{0,31}|\\*)$'

function isInScope({ scopes }: Principal, action: Action, kind: string): boolean {
  return (
    scopes === undefined ||
    scopes.some((scope) => {
      const [ofAction, ofKind] = scope.split(':')
      return (ofAction === action || ofAction === '*') && (ofKind === kind || ofKind === '*')
    })
  )
}

function mayTransfer({ kind, tenant, roles }: Principal, resource: Resource): boolean {
  return kind === 'user' && roles.includes('admin') && (tenant === DEFAULT_TENANT || tenant === resource.tenant)
}

const OPERATOR_WRITES = new Set([
  'alerts',
  'anomalies',
  'conversations',
  'devices',
  'external-alerts',
  'findings',
  'models',
  'proposals',
  'rejected',
  'rules',
  'webhooks',
])
/** What agents talk about. */
const AGENT_READS = new Set(['agents', 'alerts', 'anomalies', 'conversations', 'events', 'proposals'])
const SECRET_KINDS = new Set(['users', 'api-keys', 'audit', 'enrolment-tokens', 'dead-letters'])

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
