import type { Broker } from '@platformatic/kafka'
import { protocolErrorsCodesById } from '@platformatic/kafka'
import { KAFKA_APIS, type ProduceBatch } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { answeredError, answerOf } from './kafka-errors.ts'

/** Batches are numbered by their records, from 0 again after this. */
export const SEQUENCE_MASK = 0x7fff_ffff

/** What became of one batch that was sent. */
export type Produced =
  | { status: 'stored'; baseOffset: number }
  /** The same batch may be sent again: Kafka knows it if it has it. */
  | { status: 'again'; error: unknown }
  /** Kafka lost track of the producer's numbering; the batch is not stored. */
  | { status: 'unknown-producer'; error: unknown }
  | { status: 'refused'; error: unknown }

type ProduceResponse = Awaited<ReturnType<typeof KAFKA_APIS.produce.async>>

const AGAIN_IDS: ReadonlySet<string> = new Set([
  'NOT_LEADER_OR_FOLLOWER',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'NOT_ENOUGH_REPLICAS',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'REQUEST_TIMED_OUT',
  'KAFKA_STORAGE_ERROR',
  'CORRUPT_MESSAGE',
  'NETWORK_EXCEPTION',
  'REPLICA_NOT_AVAILABLE',
  'BROKER_NOT_AVAILABLE',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'THROTTLING_QUOTA_EXCEEDED',
])
const UNKNOWN_PRODUCER_IDS: ReadonlySet<string> = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_ID_MAPPING',
  'INVALID_PRODUCER_EPOCH',
])

/** Sends batches to the leaders of their partitions, one request per broker, and says what became of each, in their order. Never rejects. */
export async function produceBatches(
  cluster: KafkaCluster,
  connections: KafkaConnections,
  transactionalId: string | null,
  batches: readonly ProduceBatch[],
): Promise<Produced[]> {
  const results = new Map<ProduceBatch, Produced>()
  const byLeader = new Map<string, { broker: Broker; batches: ProduceBatch[] }>()
  for (const batch of batches) {
    try {
      const broker = cluster.leader(batch.topic, batch.partition)
      const key = `${broker.host}:${broker.port}`
      const group = byLeader.get(key)
      if (group === undefined) byLeader.set(key, { broker, batches: [batch] })
      else group.batches.push(batch)
    } catch (error) {
      results.set(batch, { status: 'again', error })
    }
  }
  await Promise.all(
    Array.from(byLeader.values(), async ({ broker, batches: ofBroker }) => {
      const timeoutMs = cluster.config.requestTimeoutMs
      try {
        const answer = await connections.call(broker, KAFKA_APIS.produce, transactionalId, timeoutMs, ofBroker)
        for (const batch of ofBroker) results.set(batch, resultOf(answer, batch, undefined))
      } catch (error) {
        const answer = answerOf<ProduceResponse>(error)
        for (const batch of ofBroker) results.set(batch, resultOf(answer, batch, error))
      }
    }),
  )
  return batches.map((batch) => results.get(batch)!)
}

function resultOf(answer: ProduceResponse | undefined, batch: ProduceBatch, error: unknown): Produced {
  const part = answer?.responses.find(({ name }) => name === batch.topic)?.partitionResponses.find(({ index }) => index === batch.partition)
  if (part === undefined) return { status: answeredError(error) === undefined ? 'again' : 'refused', error }
  if (part.errorCode === 0) return { status: 'stored', baseOffset: Number(part.baseOffset) }
  const id = protocolErrorsCodesById[part.errorCode] ?? 'UNKNOWN_SERVER_ERROR'
  if (AGAIN_IDS.has(id)) return { status: 'again', error }
  return { status: UNKNOWN_PRODUCER_IDS.has(id) ? 'unknown-producer' : 'refused', error }
}
