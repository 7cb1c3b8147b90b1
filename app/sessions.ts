import type { SessionEvent } from '../broker/broker.ts'
import type { RefusalContext, RefusalReason } from '../broker/refusals.ts'
import { DEVICE_MESSAGE, type DeviceMessage } from '../contracts/device-message.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { describeError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { Logger } from '../kernel/log.ts'
import type { Clock } from '../kernel/time.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'

/** Tells the log when a device's session begins or ends. Nobody waits for it: a connection is not refused because the log is slow. */
export function announceSessions(eventLog: EventLog, log: Logger): (event: SessionEvent) => void {
  return ({ kind, tenant, device, serial, at, correlationId, listener, remoteAddress }) => {
    const message: DeviceMessage = { tenant, device, kind, serial, receivedAt: at, correlationId, body: { listener, remoteAddress } }
    eventLog
      .append(TOPICS.deviceEvents, [{ key: deviceKey(tenant, device), schema: DEVICE_MESSAGE, value: jsonBytes(message) }])
      .catch((error: unknown) => log.warn({ device, kind, error: describeError(error) }, 'session not announced'))
  }
}

/** Certificates remembered as told of, per process: devices that go on connecting over HTTPS are told of once. */
const TOLD_MAX = 50_000

/** Tells the log of the first connection over HTTPS with a certificate: MQTT sessions are told of by `announceSessions`. */
export function announceUse(
  eventLog: EventLog,
  clock: Clock,
  log: Logger,
): (used: { tenant: string; device: string; serial: string }) => void {
  const told = new Set<string>()
  return ({ tenant, device, serial }) => {
    if (told.has(serial)) return
    if (told.size >= TOLD_MAX) told.clear()
    told.add(serial)
    const nowMs = clock.nowMs()
    const message: DeviceMessage = {
      tenant,
      device,
      kind: 'certificate-used',
      serial,
      receivedAt: nowMs,
      correlationId: newId(nowMs),
      body: { listener: 'https' },
    }
    eventLog
      .append(TOPICS.deviceEvents, [{ key: deviceKey(tenant, device), schema: DEVICE_MESSAGE, value: jsonBytes(message) }])
      .catch((error: unknown) => {
        told.delete(serial)
        log.warn({ device, serial, error: describeError(error) }, 'use of a certificate not announced')
      })
  }
}

/** How often a listener tells of one revoked certificate that goes on being shown, at most. */
const REFUSED_EVERY_MS = 60_000

/** A revoked certificate that somebody showed. */
export interface RefusedCertificate {
  tenant: string
  device: string
  serial: string
  listener: string
  remoteAddress: string
}

/** Tells the log that a revoked certificate was shown: the security check wants to know. Once a minute per certificate. */
export function announceRefused(eventLog: EventLog, clock: Clock, log: Logger): (refused: RefusedCertificate) => void {
  const told = new Map<string, number>()
  return ({ tenant, device, serial, listener, remoteAddress }) => {
    const nowMs = clock.nowMs()
    if (nowMs - (told.get(serial) ?? -Infinity) < REFUSED_EVERY_MS) return
    if (told.size >= TOLD_MAX) told.clear()
    told.set(serial, nowMs)
    const body = { listener, remoteAddress }
    const message: DeviceMessage = {
      tenant,
      device,
      kind: 'certificate-refused',
      serial,
      receivedAt: nowMs,
      correlationId: newId(nowMs),
      body,
    }
    eventLog
      .append(TOPICS.deviceEvents, [{ key: deviceKey(tenant, device), schema: DEVICE_MESSAGE, value: jsonBytes(message) }])
      .catch((error: unknown) => log.warn({ device, serial, error: describeError(error) }, 'use of a revoked certificate not announced'))
  }
}

/** The same, of what a broker refuses. */
export function announceRefusals(eventLog: EventLog, clock: Clock, log: Logger): (reason: RefusalReason, context: RefusalContext) => void {
  const announce = announceRefused(eventLog, clock, log)
  return (reason, { tenant, device, serial, listener = '', remoteAddress = '' }) => {
    if (reason !== 'certificate-revoked' || tenant === undefined || device === undefined || typeof serial !== 'string') return
    announce({ tenant, device, serial, listener, remoteAddress })
  }
}
