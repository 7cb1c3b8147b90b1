import { TOPICS } from '../contracts/topics.ts'
import type { TopicSpec } from '../storage/event-log/event-log.ts'
import type { Config } from './config-sections.ts'

/** Topics whose consumers set undecodable records aside. */
const WITH_DEAD_LETTERS = [TOPICS.readings, TOPICS.rejected, TOPICS.anomalies, TOPICS.alerts] as const

/**
 * Every topic with its retention. One partition each: on one machine one worker reads a topic, and more partitions would only
 * mean more entries in every commit.
 */
export function topicSpecs(config: Config): TopicSpec[] {
  const { readingsRetentionBytes, readingsRetentionMs, otherRetentionBytes, otherRetentionMs } = config.platform
  const topics = [...Object.values(TOPICS), ...WITH_DEAD_LETTERS.map((topic) => `${topic}.dlq`)]
  return topics.map((topic) => ({
    topic,
    partitions: 1,
    retentionBytes: topic === TOPICS.readings ? readingsRetentionBytes : otherRetentionBytes,
    retentionMs: topic === TOPICS.readings ? readingsRetentionMs : otherRetentionMs,
  }))
}
