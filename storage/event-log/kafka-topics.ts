import { ConfigResourceTypes, IncrementalAlterConfigOperationTypes } from '@platformatic/kafka'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { TopicSpec } from './event-log.ts'
import { KAFKA_APIS } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import { answeredError, toKafkaError } from './kafka-errors.ts'

/** Kafka removes whole segments only, never the newest: several of them fit into what is kept. */
const SEGMENTS_KEPT = 4
const SEGMENT_BYTES_MIN = 1_048_576
const SEGMENT_BYTES_MAX = 1_073_741_824
const SEGMENT_MS_MIN = 60_000
const SEGMENT_MS_MAX = 7 * 86_400_000
const KEPT_FOR_EVER = '-1'

/** Creates what is missing, adds partitions and applies changed settings; takes nothing away. */
export async function ensureKafkaTopics(cluster: KafkaCluster, topicPrefix: string, specs: readonly TopicSpec[]): Promise<void> {
  const named = specs.map((spec) => ({ ...spec, topic: topicPrefix + spec.topic }))
  await cluster.retry('topics could not be looked up', () => cluster.refresh(named.map(({ topic }) => topic)))
  for (const { topic, partitions } of named) {
    const existing = cluster.known(topic)?.leaders.length ?? 0
    if (existing > partitions) throw new InvalidInputError(`topic ${topic} has ${existing} partitions and cannot shrink to ${partitions}`)
  }
  await create(
    cluster,
    named.filter(({ topic }) => cluster.known(topic) === undefined),
  )
  await grow(
    cluster,
    named.filter(({ topic, partitions }) => (cluster.known(topic)?.leaders.length ?? 0) < partitions),
  )
  await configure(cluster, named)
}

async function create(cluster: KafkaCluster, specs: readonly TopicSpec[]): Promise<void> {
  for (const spec of specs) {
    const { config } = cluster
    const topic = {
      name: spec.topic,
      numPartitions: spec.partitions,
      replicationFactor: config.replicationFactor,
      assignments: [],
      configs: Array.from(topicConfig(cluster, spec), ([name, value]) => ({ name, value })),
    }
    await administer(cluster, spec, 'created', 'TOPIC_ALREADY_EXISTS', () =>
      cluster.callAny(KAFKA_APIS.createTopics, [topic], config.requestTimeoutMs, false),
    )
  }
  await appear(cluster, specs)
}

async function grow(cluster: KafkaCluster, specs: readonly TopicSpec[]): Promise<void> {
  for (const spec of specs) {
    const { topic: name, partitions: count } = spec
    // Null lets the brokers place them; the library's type does not know it, though it writes it.
    const assignments = null as unknown as []
    // Somebody else may have added them meanwhile.
    await administer(cluster, spec, 'given more partitions', 'INVALID_PARTITIONS', () =>
      cluster.callAny(KAFKA_APIS.createPartitions, [{ name, count, assignments }], cluster.config.requestTimeoutMs, false),
    )
  }
  await appear(cluster, specs)
}

/** Waits until the brokers know the topics and who leads them. */
async function appear(cluster: KafkaCluster, specs: readonly TopicSpec[]): Promise<void> {
  if (specs.length === 0) return
  await cluster.retry('new topics have no leaders yet', async () => {
    await cluster.refresh(specs.map(({ topic }) => topic))
    for (const { topic, partitions } of specs) for (let partition = 0; partition < partitions; partition++) cluster.leader(topic, partition)
  })
}

async function configure(cluster: KafkaCluster, specs: readonly TopicSpec[]): Promise<void> {
  if (specs.length === 0) return
  const resources = specs.map(({ topic }) => ({ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: null }))
  const { results } = await cluster.retry('the settings of topics could not be read', () =>
    cluster.callAny(KAFKA_APIS.describeConfigs, resources, false, false),
  )
  for (const spec of specs) {
    const current = new Map(
      results.find(({ resourceName }) => resourceName === spec.topic)?.configs.map(({ name, value }) => [name, value]),
    )
    const changed = [...topicConfig(cluster, spec)].filter(([name, value]) => current.get(name) !== value)
    if (changed.length === 0) continue
    const configs = changed.map(([name, value]) => ({ name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }))
    await administer(cluster, spec, `changed (${changed.map(([name]) => name).join(', ')})`, '', () =>
      cluster.callAny(KAFKA_APIS.alterConfigs, [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: spec.topic, configs }], false),
    )
    cluster.log.info({ topic: spec.topic, changed: Object.fromEntries(changed) }, 'topic settings changed')
  }
}

/** `done` is the answer that says that there is nothing left to do. */
async function administer(cluster: KafkaCluster, spec: TopicSpec, what: string, done: string, run: () => Promise<unknown>): Promise<void> {
  const sentence = `topic ${spec.topic} with ${spec.partitions} partitions could not be ${what}`
  await cluster.retry(sentence, async () => {
    try {
      await run()
    } catch (error) {
      if (answeredError(error) !== done) throw toKafkaError(error, sentence, cluster.where)
    }
  })
}

/** Settings of a topic, by Kafka's names. Kafka's bound by size is per partition, ours per topic. */
function topicConfig(cluster: KafkaCluster, { partitions, retentionBytes, retentionMs }: TopicSpec): Map<string, string> {
  const { minInsyncReplicas, batchBytesMax } = cluster.config
  const config = new Map([
    ['cleanup.policy', 'delete'],
    ['message.timestamp.type', 'LogAppendTime'],
    ['min.insync.replicas', String(minInsyncReplicas)],
    ['max.message.bytes', String(batchBytesMax + SEGMENT_BYTES_MIN / 16)],
    ['retention.ms', retentionMs === 0 ? KEPT_FOR_EVER : String(retentionMs)],
  ])
  const partitionBytes = Math.floor(retentionBytes / partitions)
  config.set('retention.bytes', retentionBytes === 0 ? KEPT_FOR_EVER : String(Math.max(1, partitionBytes)))
  const segmentBytes =
    retentionBytes === 0 ? SEGMENT_BYTES_MAX : clamp(Math.floor(partitionBytes / SEGMENTS_KEPT), SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
  config.set('segment.bytes', String(Math.max(segmentBytes, batchBytesMax + SEGMENT_BYTES_MIN)))
  const segmentMs = retentionMs === 0 ? SEGMENT_MS_MAX : clamp(Math.floor(retentionMs / SEGMENTS_KEPT), SEGMENT_MS_MIN, SEGMENT_MS_MAX)
  config.set('segment.ms', String(segmentMs))
  return config
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}
