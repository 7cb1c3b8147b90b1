import type { SessionEvent } from '../broker/broker.ts'
import { DEVICE_MESSAGE, type DeviceMessage } from '../contracts/device-message.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'

/** Tells the log when a device's session begins or ends. Nobody waits for it: a connection is not refused because the log is slow. */
export function announceSessions(eventLog: EventLog, log: Logger): (event: SessionEvent) => void {
  return ({ kind, tenant, device, serial, at, correlationId, listener }) => {
    const message: DeviceMessage = { tenant, device, kind, serial, receivedAt: at, correlationId, body: { listener } }
    eventLog
      .append(TOPICS.deviceEvents, [{ key: deviceKey(tenant, device), schema: DEVICE_MESSAGE, value: jsonBytes(message) }])
      .catch((error: unknown) => log.warn({ device, kind, error: describeError(error) }, 'session not announced'))
  }
}
