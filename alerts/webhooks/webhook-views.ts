import { authorise, type Principal } from '../../contracts/authorisation.ts'
import type { NotifierKind } from '../notifiers/notifier.ts'
import { kindOf, type DeliveryDocument, type EndpointDocument, type StoredDelivery, type StoredEndpoint } from './webhook-documents.ts'

/** An endpoint without its secrets; `version` is what `expectedVersion` compares against. */
export type EndpointView = Omit<EndpointDocument, 'secrets'> & { version: number }
export type DeliveryView = DeliveryDocument

export function viewOf(stored: StoredEndpoint): EndpointView {
  const { _id, secrets: _secrets, ...view } = stored
  return view
}

/** Who may not change endpoints does not see what of their addresses may be a secret. */
export function viewFor(principal: Principal, stored: StoredEndpoint): EndpointView {
  const view = viewOf(stored)
  return mayWrite(principal, stored.id) ? view : { ...view, url: withoutSecrets(view.url, kindOf(stored)) }
}

export function deliveryViewFor(principal: Principal, endpoint: StoredEndpoint, stored: StoredDelivery): DeliveryView {
  const view = deliveryViewOf(stored)
  if (mayWrite(principal, endpoint.id)) return view
  return { ...view, attempts: view.attempts.map((attempt) => ({ ...attempt, url: withoutSecrets(attempt.url, kindOf(endpoint)) })) }
}

/** Of Slack's the path is the key; of others the query may hold one. */
function withoutSecrets(url: string, kind: NotifierKind): string {
  const end = kind === 'slack' ? url.indexOf('/', url.indexOf('://') + 3) : url.indexOf('?')
  return end < 0 ? url : `${url.slice(0, end + 1)}[masked]`
}

function mayWrite(principal: Principal, id: string): boolean {
  return authorise(principal, 'write', { tenant: principal.tenant, kind: 'webhooks', id })
}

export function deliveryViewOf(stored: StoredDelivery): DeliveryView {
  const { _id, version: _version, ...view } = stored
  return view
}
