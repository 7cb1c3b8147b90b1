import { INCIDENT, incidentKey, type IncidentChange, type IncidentChangeKind } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { ConflictError, describeError, InternalError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { EventLog, LogMessage } from '../../storage/event-log/event-log.ts'
import { INCIDENTS_COLLECTION, incidentOf, type IncidentDocument, type StoredIncident } from './incident-document.ts'

export interface IncidentStoreOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  log: Logger
  config: { casAttemptsMax: number }
}

/** Incident documents with compare-and-set, and the messages of their changes. */
export class IncidentStore implements Service {
  readonly name = 'incident-store'
  readonly #options: IncidentStoreOptions
  #incidents: Collection<IncidentDocument> | undefined

  constructor(options: IncidentStoreOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#incidents ??= await this.#options.documents.collection<IncidentDocument>(INCIDENTS_COLLECTION)
  }

  /** The documents belong to whoever opened them; nothing to free here. */
  async stop(): Promise<void> {
    this.#incidents = undefined
  }

  get collection(): Collection<IncidentDocument> {
    if (this.#incidents === undefined) throw new InternalError('the incident store is not started')
    return this.#incidents
  }

  /** Reads, steps, writes until nobody was faster, and tells what changed. A step that answers its argument writes nothing. */
  async change(
    of: { id: string; tenant: string; expectedVersion?: number | undefined },
    step: (incident: IncidentDocument) => IncidentDocument,
  ): Promise<StoredIncident> {
    for (let attempt = 1; attempt <= this.#options.config.casAttemptsMax; attempt++) {
      const read = await this.collection.get(of.id)
      if (read === null || read.tenant !== of.tenant) throw new NotFoundError(`there is no incident ${of.id}`)
      if (of.expectedVersion !== undefined && of.expectedVersion !== read.version) {
        throw new ConflictError(`incident ${of.id} has version ${read.version}, not ${of.expectedVersion}`, {
          code: 'VERSION_MISMATCH',
          remedy: 'Read it again and repeat the change.',
        })
      }
      const { _id, version, ...before } = read
      const after = step(before)
      if (after === before) return read
      const result = await this.collection.replace(_id, version, after)
      if (result.status === 'written') return this.publish(result.document)
    }
    throw new ConflictError(`incident ${of.id} was changed by others at every try`, { retryable: true, remedy: 'Try again.' })
  }

  /** The change is durable already, so trouble here fails nobody: the sweep tries again, under the same id. */
  async publish(stored: StoredIncident): Promise<StoredIncident> {
    if (stored.outbox.length === 0) return stored
    try {
      await this.#options.eventLog.append(
        TOPICS.alerts,
        stored.outbox.map((entry) => messageOf(entry, stored)),
      )
      const done = new Set(stored.outbox.map(({ sequence }) => sequence))
      return await this.change(stored, (incident) => {
        const outbox = incident.outbox.filter(({ sequence }) => !done.has(sequence))
        return { ...incident, outbox, unpublishedSince: outbox.length === 0 ? null : incident.unpublishedSince }
      })
    } catch (error) {
      this.#options.log.error(
        { incident: stored._id, error: describeError(error) },
        'a change of an incident is not in the log yet; it will be tried again',
      )
      return stored
    }
  }
}

/** Numbers a change, and keeps it in the document until its message is in the log. */
export function withChange(incident: IncidentDocument, change: IncidentChangeKind, nowMs: number): IncidentDocument {
  const sequence = incident.sequence + 1
  const outbox = [...incident.outbox, { sequence, change }]
  return { ...incident, sequence, outbox, updatedAt: nowMs, unpublishedSince: incident.unpublishedSince ?? nowMs }
}

function messageOf(entry: { sequence: number; change: IncidentChangeKind }, stored: StoredIncident): LogMessage {
  const change: IncidentChange = { id: `${stored.id}-${entry.sequence}`, ...entry, incident: incidentOf(stored) }
  return {
    key: incidentKey(stored),
    schema: INCIDENT,
    value: Buffer.from(JSON.stringify(change)),
    headers: { 'correlation-id': stored.correlationId, 'change-id': change.id },
  }
}
