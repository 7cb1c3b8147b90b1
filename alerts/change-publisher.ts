import { ALERT, type AlertChange } from '../contracts/alert.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { EventLog, LogMessage } from '../storage/event-log/event-log.ts'
import type { StoredAlert } from './alert-document.ts'
import { changeOf, type AlertStore } from './alert-store.ts'

/** A change as a message of topic `alerts`; one device's changes keep their order. */
export function alertMessage(change: AlertChange): LogMessage {
  const { tenant, device, correlationId } = change.alert
  return {
    key: deviceKey(tenant, device),
    schema: ALERT,
    value: Buffer.from(JSON.stringify(change)),
    headers: { 'correlation-id': correlationId, 'change-id': change.id },
  }
}

/** Appends changes made by people and timers; a crash before the document knows of it appends them again under the same ids. */
export class ChangePublisher {
  readonly #eventLog: EventLog
  readonly #store: AlertStore
  readonly #log: Logger

  constructor(options: { eventLog: EventLog; store: AlertStore; log: Logger }) {
    this.#eventLog = options.eventLog
    this.#store = options.store
    this.#log = options.log
  }

  /**
   * The change is durable in the document already, so trouble here fails nobody: it is logged, and the sweep tries again.
   * Resolves with the document as it is stored afterwards.
   */
  async publish(stored: StoredAlert): Promise<StoredAlert> {
    const entries = stored.outbox.filter((entry) => entry.position === null)
    if (entries.length === 0) return stored
    try {
      await this.#eventLog.append(
        TOPICS.alerts,
        entries.map((entry) => alertMessage(changeOf(entry, stored))),
      )
      const done = new Set(entries.map((entry) => entry.sequence))
      return await this.#store.change({ id: stored._id, tenant: stored.tenant }, (alert) => {
        const outbox = alert.outbox.filter((entry) => entry.position !== null || !done.has(entry.sequence))
        const waits = outbox.some((entry) => entry.position === null)
        return { ...alert, outbox, unpublishedSince: waits ? alert.unpublishedSince : null }
      })
    } catch (error) {
      this.#log.error(
        { alert: stored._id, error: describeError(error) },
        'a change of an alert is not in the log yet; it will be tried again',
      )
      return stored
    }
  }
}
