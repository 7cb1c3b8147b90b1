import { FEEDBACK_CHANGES_COLLECTION, type FeedbackChange, type FeedbackRule } from '../../contracts/feedback-change.ts'
import { FEEDBACK, FEEDBACK_COLLECTION, FEEDBACK_INDEXES, type Feedback, type FeedbackState } from '../../contracts/feedback.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { ConflictError, NotFoundError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'

export interface FeedbackStoreOptions {
  documents: Documents
  eventLog: EventLog
}

export interface FeedbackQuery {
  tenant: string
  device?: string
  state?: FeedbackState
  anomaly?: string
  limit: number
  /** Id of the last one of the page before. */
  after?: string
}

type StoredFeedback = Feedback & Stored

/** How often somebody else may take the number of a change first. */
const NUMBER_TRIES = 100
/** Digits of a change's number in its id. */
const NUMBER_DIGITS = 12

/** What people said, and the changes to what detectors go by. A document is written before topic `feedback` tells of it. */
export class FeedbackStore implements Service {
  readonly name = 'feedback-store'
  readonly #options: FeedbackStoreOptions
  #feedback: Collection<Feedback> | undefined
  #changes: Collection<FeedbackChange> | undefined

  constructor(options: FeedbackStoreOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { documents } = this.#options
    this.#changes ??= await documents.collection<FeedbackChange>({
      name: FEEDBACK_CHANGES_COLLECTION,
      indexes: [{ name: 'by-number', paths: ['number'] }],
    })
    this.#feedback ??= await documents.collection<Feedback>({ name: FEEDBACK_COLLECTION, indexes: FEEDBACK_INDEXES })
  }

  async stop(): Promise<void> {
    this.#feedback = undefined
    this.#changes = undefined
  }

  async add(feedback: Feedback): Promise<Feedback> {
    const written = await this.#opened().insert(feedback.id, feedback)
    if (written.status === 'conflict') throw new ConflictError('feedback of this id exists', { retryable: true })
    await this.#tell(feedback)
    return feedback
  }

  /** Throws NotFoundError, also for another tenant's. */
  async get(tenant: string, id: string): Promise<StoredFeedback> {
    const found = await this.#opened().get(id)
    if (found === null || found.tenant !== tenant) throw new NotFoundError(`there is no feedback ${id.slice(0, 100)}`)
    return found
  }

  /** Newest first. */
  async list({ tenant, device, state, anomaly, limit, after }: FeedbackQuery): Promise<{ items: Feedback[]; more: boolean }> {
    const filter = {
      tenant,
      ...(device === undefined ? {} : { device }),
      ...(state === undefined ? {} : { state }),
      ...(anomaly === undefined ? {} : { anomaly }),
      ...(after === undefined ? {} : { _id: { $lt: after } }),
    }
    const found = await this.#opened().find(filter, { sort: { _id: -1 }, limit: limit + 1 })
    return { items: found.slice(0, limit).map(plain), more: found.length > limit }
  }

  /** Labelled ranges of one metric of a device that count. */
  async labelsOf(tenant: string, device: string, metric: string, limit: number): Promise<Feedback[]> {
    const filter = { tenant, device, metric: { $in: ['', metric] }, state: { $ne: 'withdrawn' } }
    return (await this.#opened().find(filter, { sort: { fromTs: -1 }, limit })).map(plain)
  }

  async count(tenant: string): Promise<number> {
    return this.#opened().count({ tenant })
  }

  /** Changes fields of what is stored, whatever else changed meanwhile. */
  async update(tenant: string, id: string, fields: Partial<Feedback>): Promise<Feedback> {
    await this.get(tenant, id)
    const written = await this.#opened().update(id, { $set: fields })
    if (written.status !== 'written') throw new NotFoundError(`there is no feedback ${id.slice(0, 100)}`)
    const changed = plain(written.document)
    await this.#tell(changed)
    return changed
  }

  /** The latest change of one piece of feedback. */
  async latestChange(feedback: string): Promise<FeedbackChange | undefined> {
    return (await this.#openedChanges().find({ feedback }, { sort: { number: -1 }, limit: 1 }))[0]
  }

  /** The next version of what detectors go by. */
  async change(change: Omit<FeedbackChange, 'number'>): Promise<FeedbackChange> {
    const changes = this.#openedChanges()
    for (let tries = 0; tries < NUMBER_TRIES; tries++) {
      const number = ((await changes.find({}, { sort: { number: -1 }, limit: 1 }))[0]?.number ?? 0) + 1
      const written = await changes.insert(String(number).padStart(NUMBER_DIGITS, '0'), { number, ...change })
      if (written.status === 'written') return written.document
    }
    throw new ConflictError('many people apply feedback at this moment', { retryable: true })
  }

  async changes(): Promise<number> {
    return this.#openedChanges().count({})
  }

  /** The rules of a tenant as the changes so far have them. */
  async rules(tenant: string): Promise<FeedbackRule[]> {
    const rules = new Map<string, FeedbackRule>()
    for (const change of await this.#openedChanges().find({ tenant }, { sort: { number: 1 } })) {
      rules.delete(change.feedback)
      if (change.rule !== null) rules.set(change.feedback, change.rule)
    }
    return [...rules.values()]
  }

  async #tell(feedback: Feedback): Promise<void> {
    const { tenant, device } = feedback
    const value = Buffer.from(JSON.stringify(feedback))
    await this.#options.eventLog.append(TOPICS.feedback, [{ key: deviceKey(tenant, device), schema: FEEDBACK, value }])
  }

  #opened(): Collection<Feedback> {
    if (this.#feedback === undefined) throw new TypeError('FeedbackStore.start was not called')
    return this.#feedback
  }

  #openedChanges(): Collection<FeedbackChange> {
    if (this.#changes === undefined) throw new TypeError('FeedbackStore.start was not called')
    return this.#changes
  }
}

function plain({ _id, version: _version, ...feedback }: StoredFeedback): Feedback {
  return feedback
}
