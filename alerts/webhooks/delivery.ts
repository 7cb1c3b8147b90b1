import type { Notice } from '../notifiers/notice.ts'
import type { DeliveryDocument, EndpointDocument, ParkReason } from './webhook-documents.ts'

/** Numbers deliveries of one millisecond. */
const ORDERS_PER_MS = 1_000
let serial = 0

export interface NoticeDelivery {
  notice: Notice
  body: string
  templateError: string | null
  attemptsMax: number
  nowMs: number
}

export function noticeDelivery(
  endpoint: EndpointDocument,
  { notice, body, templateError, attemptsMax, nowMs }: NoticeDelivery,
): DeliveryDocument {
  return {
    ...blankDelivery(endpoint, attemptsMax, nowMs),
    id: `msg_${endpoint.id}_${notice.changeId}`,
    type: notice.event,
    alertId: notice.alert?.id ?? null,
    incidentId: notice.incident?.id ?? notice.alert?.incident?.id ?? null,
    correlationId: notice.correlationId,
    templateError,
    body,
  }
}

/** A test message: tried once. */
export function testDelivery(endpoint: EndpointDocument, testId: string, body: string, nowMs: number): DeliveryDocument {
  return {
    ...blankDelivery(endpoint, 1, nowMs),
    id: `msg_${endpoint.id}_${testId}`,
    type: 'webhook.ping',
    alertId: null,
    correlationId: testId,
    body,
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
  | 'order'
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
    order: nowMs * ORDERS_PER_MS + (serial++ % ORDERS_PER_MS),
  }
}
