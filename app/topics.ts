import { TOPICS } from '../contracts/topics.ts'
import type { TopicSpec } from '../storage/event-log/event-log.ts'
import type { Config } from './config-sections.ts'

/** Topics whose consumers set undecodable records aside. */
const WITH_DEAD_LETTERS = [
  ...[TOPICS.readings, TOPICS.rejected, TOPICS.anomalies, TOPICS.alerts],
  ...[TOPICS.agentLifecycle, TOPICS.chatEvents, TOPICS.agentStatus, TOPICS.agentMessages, TOPICS.digests],
] as const

/** Partitions where the configuration leaves it to the engine; at most so many processes share the work. */
const PARTITIONS = { lmdb: 1, kafka: 12 } as const

/**
 * Every topic with its retention. On LMDB one partition each: on one machine one worker reads a topic, and more partitions would only
 * mean more entries in every commit. All have the same number, because a device's readings and rejected readings are counted together.
 */
export function topicSpecs(config: Config): TopicSpec[] {
  const { partitions: configured, eventLogEngine } = config.platform
  const partitions = configured > 0 ? configured : PARTITIONS[eventLogEngine]
  const { readingsRetentionBytes, readingsRetentionMs, otherRetentionBytes, otherRetentionMs } = config.platform
  const topics = [...Object.values(TOPICS), ...WITH_DEAD_LETTERS.map((topic) => `${topic}.dlq`)]
  return topics.map((topic) => ({
    topic,
    partitions,
    retentionBytes: topic === TOPICS.readings ? readingsRetentionBytes : otherRetentionBytes,
    retentionMs: topic === TOPICS.readings ? readingsRetentionMs : otherRetentionMs,
  }))
}
