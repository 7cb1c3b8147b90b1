import { ConflictError, InvalidInputError, NotFoundError, StoreError } from '../../kernel/errors.ts'
import type { TopicSpec } from './event-log.ts'
import { commitCause } from '../lmdb-commit-cause.ts'
import { toLogError } from './lmdb-errors.ts'
import type { LmdbEnvironment } from './lmdb-environment.ts'
import { partitionKey, PARTITIONS_MAX, slotOf, TOPIC_IDS_MAX, type Slot } from './log-keys.ts'
import { EMPTY_HEAD, EMPTY_TAIL, encodeHead, encodeTail } from './partition-state.ts'

/** Names that Apache Kafka accepts, so that a topic can move there; prefix included. */
const TOPIC_NAME = /^[A-Za-z0-9._-]{1,249}$/

/** A topic of this log. The object stays the same while its partitions and retention change. */
export interface Topic {
  readonly id: number
  /** Without the prefix. */
  readonly name: string
  partitions: number
  retentionBytes: number
  retentionMs: number
}

interface StoredTopic {
  id: number
  partitions: number
  retentionBytes: number
  retentionMs: number
}

/** Topics as the environment holds them, seen through one prefix. */
export class TopicCatalog {
  readonly #environment: LmdbEnvironment
  readonly #prefix: string
  readonly #topics = new Map<string, Topic>()

  constructor(environment: LmdbEnvironment, prefix: string) {
    this.#environment = environment
    this.#prefix = prefix
  }

  /** Throws NotFoundError. */
  get(name: string): Topic {
    const topic = this.#topics.get(name)
    if (topic !== undefined) return topic
    this.refresh()
    const found = this.#topics.get(name)
    if (found === undefined)
      throw new NotFoundError(`there is no topic ${name} in the event log`, { remedy: 'Create it with ensureTopics first.' })
    return found
  }

  all(): IterableIterator<Topic> {
    return this.#topics.values()
  }

  slots(topic: Topic): Slot[] {
    return Array.from({ length: topic.partitions }, (_, partition) => slotOf(topic.id, partition))
  }

  /** Reads the topics again; answers those whose partitions grew. */
  refresh(): Topic[] {
    const grown: Topic[] = []
    this.#environment.refresh()
    for (const { key, value } of this.#environment.topics.getRange({})) {
      const physical = Buffer.from(key).toString()
      if (!physical.startsWith(this.#prefix)) continue
      const name = physical.slice(this.#prefix.length)
      const stored = parseTopic(value, physical)
      const topic = this.#topics.get(name)
      if (topic === undefined) {
        this.#topics.set(name, { name, ...stored })
        continue
      }
      if (stored.partitions > topic.partitions) grown.push(topic)
      Object.assign(topic, stored)
    }
    return grown
  }

  /** Creates and changes in one durable transaction. Rejects with InvalidInputError or ConflictError before anything is written, or with StoreError. */
  async ensure(specs: readonly TopicSpec[]): Promise<void> {
    for (const spec of specs) this.#check(spec)
    const environment = this.#environment
    const commit = environment.root.transaction(() => {
      const stored = this.#storedTopics()
      const changes = specs.filter((spec) => differs(stored.get(spec.topic), spec))
      for (const spec of changes) refuseShrinking(stored.get(spec.topic), spec)
      let nextId = this.#nextId()
      if (nextId + changes.length > TOPIC_IDS_MAX) throw new ConflictError(`the event log has ${TOPIC_IDS_MAX} topics already`)
      for (const spec of changes) {
        const before = stored.get(spec.topic)
        const id = before?.id ?? nextId++
        this.#write(spec, id, before?.partitions ?? 0)
      }
    })
    try {
      await commit
    } catch (error) {
      throw toLogError(await commitCause(error), environment.directory)
    }
    await environment.root.flushed
  }

  #write(spec: TopicSpec, id: number, partitionsBefore: number): void {
    const { topics, heads, tails } = this.#environment
    const { topic, partitions, retentionBytes, retentionMs } = spec
    const stored: StoredTopic = { id, partitions, retentionBytes, retentionMs }
    void topics.put(Buffer.from(this.#prefix + topic), Buffer.from(JSON.stringify(stored)))
    for (let partition = partitionsBefore; partition < partitions; partition++) {
      const key = partitionKey(slotOf(id, partition))
      void heads.put(key, encodeHead(EMPTY_HEAD), this.#environment.nextVersion())
      void tails.put(key, encodeTail(EMPTY_TAIL), this.#environment.nextVersion())
    }
  }

  #storedTopics(): Map<string, StoredTopic> {
    const stored = new Map<string, StoredTopic>()
    for (const { key, value } of this.#environment.topics.getRange({})) {
      const physical = Buffer.from(key).toString()
      if (physical.startsWith(this.#prefix)) stored.set(physical.slice(this.#prefix.length), parseTopic(value, physical))
    }
    return stored
  }

  /** Ids are shared by all prefixes and never used again. */
  #nextId(): number {
    let highest = 0
    for (const { key, value } of this.#environment.topics.getRange({}))
      highest = Math.max(highest, parseTopic(value, Buffer.from(key).toString()).id)
    return highest + 1
  }

  #check(spec: TopicSpec): void {
    const { topic, partitions, retentionBytes, retentionMs } = spec
    if (!TOPIC_NAME.test(this.#prefix + topic))
      throw new InvalidInputError(`${this.#prefix}${topic} is not a topic name; allowed are 1 to 249 of A-Z a-z 0-9 . _ -`)
    if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
      throw new InvalidInputError(`topic ${topic} cannot have ${partitions} partitions; allowed are 1 to ${PARTITIONS_MAX}`)
    }
    if (!(retentionBytes >= 0 && retentionMs >= 0)) throw new InvalidInputError(`retention of topic ${topic} must not be negative`)
  }
}

function differs(stored: StoredTopic | undefined, spec: TopicSpec): boolean {
  if (stored === undefined) return true
  return stored.partitions !== spec.partitions || stored.retentionBytes !== spec.retentionBytes || stored.retentionMs !== spec.retentionMs
}

function refuseShrinking(stored: StoredTopic | undefined, spec: TopicSpec): void {
  if (stored === undefined || spec.partitions >= stored.partitions) return
  throw new InvalidInputError(`topic ${spec.topic} has ${stored.partitions} partitions and cannot shrink to ${spec.partitions}`, {
    remedy: `Set at least ${stored.partitions} partitions for it.`,
  })
}

function parseTopic(value: Buffer, physical: string): StoredTopic {
  try {
    const { id, partitions, retentionBytes, retentionMs } = JSON.parse(value.toString()) as StoredTopic
    return { id, partitions, retentionBytes, retentionMs }
  } catch (cause) {
    throw new StoreError('STORE_CORRUPT', `the event log's record of topic ${physical} is damaged`, {
      remedy: 'Restore the data folder from a backup; nothing was overwritten.',
      cause,
    })
  }
}
