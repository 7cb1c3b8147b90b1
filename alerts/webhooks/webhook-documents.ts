import type { AlertChange } from '../../contracts/alert.ts'
import { Secret } from '../../kernel/secret.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'

/** What an endpoint can subscribe to. */
export const WEBHOOK_EVENTS = [
  'alert.opened',
  'alert.repeated',
  'alert.acknowledged',
  'alert.resolved',
  'alert.silenced',
  'alert.severity-changed',
] as const satisfies readonly `alert.${AlertChange['change']}`[]
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number]

/** A new endpoint's events unless it names others: repeats would drown the rest. */
export const DEFAULT_EVENTS: readonly WebhookEvent[] = WEBHOOK_EVENTS.filter((event) => event !== 'alert.repeated')

export interface EndpointDocument {
  id: string
  tenant: string
  url: string
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

/** One try, as the delivery log shows it. */
export interface DeliveryAttempt {
  at: number
  durationMs: number
  url: string
  /** HTTP status; null when there was no response. */
  status: number | null
  /** What went wrong; null when the response was complete. */
  error: string | null
  /** Its beginning. */
  responseBody: string
}

export type ParkReason = 'attempts-exhausted' | 'endpoint-gone' | 'endpoint-disabled' | 'target-refused' | 'backlog-full'

/** One message to one endpoint: outbox entry and delivery log in one. */
export interface DeliveryDocument {
  /** Goes out as `webhook-id`; made from endpoint and change, so that a redelivered change makes no second one. */
  id: string
  tenant: string
  endpointId: string
  type: WebhookEvent | 'webhook.ping'
  alertId: string | null
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
    { name: 'log', paths: ['endpointId', 'createdAt', 'id'] },
    { name: 'finished', paths: ['state', 'updatedAt'] },
  ],
}

/** The secrets that sign now. */
export function validSecrets(endpoint: EndpointDocument, nowMs: number): Secret[] {
  return endpoint.secrets
    .filter((secret) => secret.expiresAt === null || secret.expiresAt > nowMs)
    .map((secret) => new Secret(secret.value))
}
