import { ALERT_CHANGES } from '../../contracts/alert.ts'
import { INCIDENT_CHANGES } from '../../contracts/incident.ts'
import { DIGEST_PUBLISHED, type NoticeEvent } from '../notifiers/notice.ts'
import type { DeliveryAttempt, NotifierKind } from '../notifiers/notifier.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'

export type WebhookEvent = NoticeEvent
/** What an endpoint can subscribe to: each alert by itself, incidents, which people can live with, or what was found out about them. */
export const WEBHOOK_EVENTS: readonly WebhookEvent[] = [
  ...ALERT_CHANGES.map((change) => `alert.${change}` as const),
  ...INCIDENT_CHANGES.map((change) => `incident.${change}` as const),
  DIGEST_PUBLISHED,
]

/** A new endpoint's events unless it names others: these would drown the rest. */
const NOT_BY_DEFAULT = new Set<WebhookEvent>(['alert.repeated', 'alert.commented', 'alert.quieted'])
export const DEFAULT_EVENTS: readonly WebhookEvent[] = WEBHOOK_EVENTS.filter(
  (event) => event.startsWith('alert.') && !NOT_BY_DEFAULT.has(event),
)

export interface EndpointDocument {
  id: string
  tenant: string
  /** Absent in documents of before there were several: standard-webhooks. */
  kind?: NotifierKind
  url: string
  /** The text people read; null: the plain one. */
  template?: string | null
  /** One at a time, in order: the next waits until the one before is delivered or parked. */
  ordered?: boolean
  /** It failed too often in a row and gets nothing until then, epoch ms. */
  restsUntil?: number | null
  /** Newest first; all that have not expired sign. Never leaves this folder except once, at creation. */
  secrets: { value: string; expiresAt: number | null }[]
  events: WebhookEvent[]
  description: string
  enabled: boolean
  /** `gone`: the endpoint answered 410; `operator`: a person did. Null while enabled. */
  disabledReason: 'gone' | 'operator' | null
  createdAt: number
  updatedAt: number
}
export type StoredEndpoint = EndpointDocument & Stored

export type ParkReason = 'attempts-exhausted' | 'endpoint-gone' | 'endpoint-disabled' | 'target-refused' | 'backlog-full'

/** One message to one endpoint: outbox entry and delivery log in one. */
export interface DeliveryDocument {
  /** Goes out as `webhook-id`; made from endpoint and change, so that a redelivered change makes no second one. */
  id: string
  tenant: string
  endpointId: string
  type: WebhookEvent | 'webhook.ping'
  alertId: string | null
  incidentId?: string | null
  /** Deliveries of one endpoint in the order in which they came. */
  order?: number
  /** Why the template did not become the text, which is the plain one then. */
  templateError?: string | null
  correlationId: string
  /** The request's body, byte for byte. */
  body: string
  state: 'pending' | 'delivered' | 'dead'
  parkReason: ParkReason | null
  attemptsMade: number
  attemptsMax: number
  /** Wall time, epoch ms; while a try is under way, the time from which another process may take it over. Null unless pending. */
  nextAttemptAt: number | null
  createdAt: number
  updatedAt: number
  /** Newest first, bounded. */
  attempts: DeliveryAttempt[]
}
export type StoredDelivery = DeliveryDocument & Stored

export const ENDPOINTS_COLLECTION: CollectionSpec = {
  name: 'webhook-endpoints',
  indexes: [{ name: 'newest', paths: ['tenant', 'id'] }],
}

export const DELIVERIES_COLLECTION: CollectionSpec = {
  name: 'webhook-deliveries',
  indexes: [
    { name: 'due', paths: ['endpointId', 'state', 'nextAttemptAt'] },
    { name: 'in-order', paths: ['endpointId', 'state', 'order'] },
    { name: 'log', paths: ['endpointId', 'createdAt', 'id'] },
    { name: 'finished', paths: ['state', 'updatedAt'] },
    { name: 'of-incident', paths: ['incidentId', 'type'] },
  ],
}

/** The secrets that sign now. */
export function validSecrets(endpoint: EndpointDocument, nowMs: number): string[] {
  return endpoint.secrets.filter((secret) => secret.expiresAt === null || secret.expiresAt > nowMs).map((secret) => secret.value)
}

export function kindOf(endpoint: EndpointDocument): NotifierKind {
  return endpoint.kind ?? 'standard-webhooks'
}
