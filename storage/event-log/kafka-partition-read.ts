import { FetchIsolationLevels, ProtocolError } from '@platformatic/kafka'
import type { LogRecord } from './event-log.ts'
import { KAFKA_APIS, type FetchedPartition } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { EARLIEST, LATEST, listOffsets } from './kafka-offsets.ts'
import { RecordReader } from './kafka-record-reader.ts'

/** Where to read; `name` is without the prefix. */
interface Place {
  name: string
  topic: string
  partition: number
}

/** Up to `recordsMax` records from `offset` on, without waiting for more than there is. */
export async function readKafkaPartition(
  cluster: KafkaCluster,
  connections: KafkaConnections,
  place: Place,
  offset: number,
  recordsMax: number,
): Promise<LogRecord[]> {
  const { topic, partition } = place
  const list = async (time: number): Promise<number> =>
    (await listOffsets(cluster, connections, topic, [partition], time)).get(partition) ?? 0
  const [first, next] = await Promise.all([list(EARLIEST), list(LATEST)])
  const records: LogRecord[] = []
  for (let at = Math.max(first, offset); at < next && records.length < recordsMax;) {
    const { records: bytes, aborted } = await cluster.retry(`${topic}/${partition} could not be read`, () =>
      fetchOnce(cluster, connections, place, at),
    )
    const reader = new RecordReader({ topic: place.name, partition }, bytes, at, aborted)
    reader.read(records, recordsMax)
    if (reader.end === at) break
    at = reader.end
  }
  return records
}

async function fetchOnce(
  cluster: KafkaCluster,
  connections: KafkaConnections,
  { topic, partition }: Place,
  offset: number,
): Promise<FetchedPartition> {
  const { partitionFetchBytesMax } = cluster.config
  const wanted = {
    partition,
    currentLeaderEpoch: -1,
    fetchOffset: BigInt(offset),
    lastFetchedEpoch: -1,
    partitionMaxBytes: partitionFetchBytesMax,
  }
  const topics = await connections.call(
    cluster.leader(topic, partition),
    KAFKA_APIS.fetch,
    0,
    1,
    partitionFetchBytesMax,
    FetchIsolationLevels.READ_COMMITTED,
    0,
    -1,
    [{ topicId: topic, partitions: [wanted] }],
    [],
    '',
  )
  const part = topics[0]!.partitions[0]!
  if (part.errorCode !== 0) {
    await cluster.refresh([topic])
    throw new ProtocolError(part.errorCode)
  }
  return part
}
