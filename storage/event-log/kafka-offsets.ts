import type { Broker } from '@platformatic/kafka'
import { FetchIsolationLevels } from '@platformatic/kafka'
import { KAFKA_APIS } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'

export const EARLIEST = -2
export const LATEST = -1

/**
 * The first offset at or after a time (epoch ms, or EARLIEST, or LATEST: the end of what is decided) per partition; -1 where there is
 * none. Rejects in our family.
 */
export function listOffsets(
  cluster: KafkaCluster,
  connections: KafkaConnections,
  topic: string,
  partitions: readonly number[],
  timestampMs: number,
): Promise<Map<number, number>> {
  return cluster.retry(`offsets of ${topic} could not be looked up`, async () => {
    const offsets = new Map<number, number>()
    try {
      await Promise.all(
        groupByLeader(cluster, topic, partitions).map(async ({ broker, partitions: list }) => {
          const wanted = list.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp: BigInt(timestampMs) }))
          const { topics } = await connections.call(broker, KAFKA_APIS.listOffsets, -1, FetchIsolationLevels.READ_COMMITTED, [
            { name: topic, partitions: wanted },
          ])
          for (const { partitionIndex, offset } of topics[0]?.partitions ?? []) offsets.set(partitionIndex, Number(offset))
        }),
      )
    } catch (error) {
      await cluster.refresh([topic])
      throw error
    }
    return new Map([...offsets].sort(([a], [b]) => a - b))
  })
}

/** Partitions of a topic by the broker that leads them. Throws, retryable, when one has no leader. */
export function groupByLeader(
  cluster: KafkaCluster,
  topic: string,
  partitions: Iterable<number>,
): { key: string; broker: Broker; partitions: number[] }[] {
  const groups = new Map<string, { key: string; broker: Broker; partitions: number[] }>()
  for (const partition of partitions) {
    const broker = cluster.leader(topic, partition)
    const key = `${broker.host}:${broker.port}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, { key, broker, partitions: [partition] })
    else group.partitions.push(partition)
  }
  return [...groups.values()]
}
