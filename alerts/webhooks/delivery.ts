import type { AlertChange } from '../../contracts/alert.ts'
import type { DeliveryDocument, EndpointDocument, ParkReason, WebhookEvent } from './webhook-documents.ts'

/** The event that an alert's change is to receivers. */
export function eventOf(change: AlertChange): WebhookEvent {
  return `alert.${change.change}`
}

/** A silenced alert gives no notices, except that it was silenced and that it resolved. */
export function isSilenced(change: AlertChange): boolean {
  const { silencedUntil, updatedAt } = change.alert
  return silencedUntil !== null && silencedUntil > updatedAt && change.change !== 'silenced' && change.change !== 'resolved'
}

/**
 * The request's body as Standard Webhooks shapes it: type, timestamp (ISO 8601) and data. The alert carries its correlation id and the
 * explanation; its history stays at home, because it grows.
 */
export function alertBody(change: AlertChange): string {
  const { history: _history, historyDropped: _dropped, ...alert } = change.alert
  return JSON.stringify({
    type: eventOf(change),
    timestamp: new Date(alert.updatedAt).toISOString(),
    data: { changeId: change.id, sequence: change.sequence, alert },
  })
}

export function alertDelivery(
  endpoint: EndpointDocument,
  change: AlertChange,
  body: string,
  attemptsMax: number,
  nowMs: number,
): DeliveryDocument {
  return {
    ...blankDelivery(endpoint, attemptsMax, nowMs),
    id: `msg_${endpoint.id}_${change.id}`,
    type: eventOf(change),
    alertId: change.alert.id,
    correlationId: change.alert.correlationId,
    body,
  }
}

/** A test message: tried once. */
export function pingDelivery(endpoint: EndpointDocument, pingId: string, nowMs: number): DeliveryDocument {
  const data = { endpointId: endpoint.id, message: 'A test of this endpoint.' }
  return {
    ...blankDelivery(endpoint, 1, nowMs),
    id: `msg_${endpoint.id}_${pingId}`,
    type: 'webhook.ping',
    alertId: null,
    correlationId: pingId,
    body: JSON.stringify({ type: 'webhook.ping', timestamp: new Date(nowMs).toISOString(), data }),
  }
}

/** What makes a delivery rest until someone replays it. */
export function parked(reason: ParkReason, nowMs: number): Partial<DeliveryDocument> {
  return { state: 'dead', parkReason: reason, nextAttemptAt: null, updatedAt: nowMs }
}

type Blank = Pick<
  DeliveryDocument,
  | 'tenant'
  | 'endpointId'
  | 'state'
  | 'parkReason'
  | 'attemptsMade'
  | 'attemptsMax'
  | 'nextAttemptAt'
  | 'createdAt'
  | 'updatedAt'
  | 'attempts'
>

function blankDelivery(endpoint: EndpointDocument, attemptsMax: number, nowMs: number): Blank {
  return {
    tenant: endpoint.tenant,
    endpointId: endpoint.id,
    state: 'pending',
    parkReason: null,
    attemptsMade: 0,
    attemptsMax,
    nextAttemptAt: nowMs,
    createdAt: nowMs,
    updatedAt: nowMs,
    attempts: [],
  }
}
