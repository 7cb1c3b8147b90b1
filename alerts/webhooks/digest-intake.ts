import type { Digest, DigestReader } from '../../contracts/digest.ts'
import type { Incident } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { BatchLoop } from '../../storage/event-log/batch-loop.ts'
import type { EventLog, LogRecord, TopicMessages } from '../../storage/event-log/event-log.ts'
import { INCIDENTS_COLLECTION, incidentOf, type IncidentDocument } from '../incidents/incident-document.ts'
import { DIGEST_PUBLISHED, noticeOfDigest } from '../notifiers/notice.ts'
import type { WebhooksConfig } from './config.ts'
import type { DeliveryOutbox } from './delivery-outbox.ts'

export interface DigestIntakeOptions {
  documents: Documents
  eventLog: EventLog
  digests: DigestReader
  outbox: DeliveryOutbox
  clock: Clock
  random: Random
  log: Logger
  config: WebhooksConfig
}

/**
 * Consumes `digests` as group `webhook-digests`: one durable delivery per revision and endpoint that subscribed to digests, before the
 * offset is committed. Incidents that nobody is told of have none. What cannot be read is the journal's to set aside: it reads the topic too.
 */
export class DigestIntake implements Service {
  readonly name = 'digest-intake'
  readonly #options: DigestIntakeOptions
  readonly #loop: BatchLoop
  #incidents: Collection<IncidentDocument> | undefined

  constructor(options: DigestIntakeOptions) {
    this.#options = options
    const { eventLog, clock, random, log, config } = options
    this.#loop = new BatchLoop({
      ...{ eventLog, clock, random, log },
      name: this.name,
      group: 'webhook-digests',
      topic: TOPICS.digests,
      pace: { ...config, retryInitialMs: config.loopRetryInitialMs, retryMaxMs: config.loopRetryMaxMs },
      handle: (records) => this.#handle(records),
    })
  }

  async start(): Promise<void> {
    this.#incidents ??= await this.#options.documents.collection<IncidentDocument>(INCIDENTS_COLLECTION)
    await this.#loop.start()
  }
  async stop(): Promise<void> {
    await this.#loop.stop()
    this.#incidents = undefined
  }

  /** One revision at a time: there are a few to an incident, and memory holds the deliveries of one. */
  async #handle(records: readonly LogRecord[]): Promise<TopicMessages[]> {
    for (const record of records) {
      const digest = this.#options.digests.read(record)
      if (digest !== null) await this.#tell(digest)
    }
    return []
  }

  async #tell(digest: Digest): Promise<void> {
    const { outbox, config } = this.#options
    const endpoints = (await outbox.endpointsOf(digest.tenant)).filter(({ events }) => events.includes(DIGEST_PUBLISHED))
    if (endpoints.length === 0) return
    const incident = await this.#incidentOf(digest)
    if (incident === null || !incident.announced) return
    const notice = noticeOfDigest(digest, incident, config.publicUrl.replace(/\/+$/, ''))
    await outbox.queueAll(await Promise.all(endpoints.map((endpoint) => outbox.hold(endpoint, notice))))
  }

  /** Null: its retention is over. */
  async #incidentOf({ tenant, incident: id }: Digest): Promise<Incident | null> {
    if (this.#incidents === undefined) throw new InternalError('the digest intake is not started')
    const found = await this.#incidents.get(id)
    return found === null || found.tenant !== tenant ? null : incidentOf(found)
  }
}
