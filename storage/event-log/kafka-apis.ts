import {
  addOffsetsToTxnV3,
  addPartitionsToTxnV3,
  apiVersionsV3,
  createAPI,
  createPartitionsV3,
  createTopicsV7,
  describeConfigsV4,
  endTxnV3,
  fetchV12,
  findCoordinatorV4,
  heartbeatV4,
  incrementalAlterConfigsV1,
  initProducerIdV4,
  joinGroupV9,
  leaveGroupV5,
  listOffsetsV7,
  metadataV12,
  offsetCommitV8,
  offsetFetchV8,
  produceV9,
  protocolAPIsById,
  syncGroupV5,
  txnOffsetCommitV3,
  Writer,
  type API,
  type Reader,
} from '@platformatic/kafka'
import { KafkaBytesReader } from './kafka-bytes.ts'
import type { AbortedTransaction } from './kafka-record-reader.ts'

/** One partition's part of a request to append. */
export interface ProduceBatch {
  topic: string
  partition: number
  /** An encoded record batch. */
  bytes: Buffer
}

/** One partition's part of an answer to a fetch. */
export interface FetchedPartition {
  partition: number
  errorCode: number
  /** Up to here everything is decided: nobody reads further. */
  lastStableOffset: number
  logStartOffset: number
  aborted: AbortedTransaction[]
  records: Buffer
}

export interface FetchedTopic {
  topic: string
  partitions: FetchedPartition[]
}

type ProduceArguments = [transactionalId: string | null, timeoutMs: number, batches: readonly ProduceBatch[]]
type ProduceResponse = ReturnType<typeof produceV9.parseResponse>

/** Appends batches that are encoded already (the library would encode an object per record). acks=all. */
const produce = createAPI<ProduceArguments, ProduceResponse>(
  0,
  9,
  (transactionalId: string | null, timeoutMs: number, batches: readonly ProduceBatch[]) => {
    const topics = new Map<string, ProduceBatch[]>()
    for (const batch of batches) topics.set(batch.topic, [...(topics.get(batch.topic) ?? []), batch])
    return Writer.create()
      .appendString(transactionalId)
      .appendInt16(-1)
      .appendInt32(timeoutMs)
      .appendArray([...topics], (writer, [topic, list]) => {
        writer.appendString(topic).appendArray(list, (inner, { partition, bytes }) => {
          inner
            .appendInt32(partition)
            .appendUnsignedVarInt(bytes.length + 1)
            .append(bytes)
        })
      })
      .appendTaggedFields()
  },
  produceV9.parseResponse,
)

type FetchArguments = Parameters<typeof fetchV12.createRequest>

/** Fetches bytes, not records; errors stay with their partitions. */
const fetch = createAPI<FetchArguments, FetchedTopic[]>(
  1,
  12,
  fetchV12.createRequest,
  (_correlationId, _apiKey, _apiVersion, reader: Reader) => parseFetched(reader.buffer.subarray(reader.position).buffer),
)

/** Every request we make, each in one version. */
export const KAFKA_APIS = {
  produce,
  fetch,
  metadata: metadataV12.api,
  findCoordinator: findCoordinatorV4.api,
  listOffsets: listOffsetsV7.api,
  initProducerId: initProducerIdV4.api,
  addPartitionsToTxn: addPartitionsToTxnV3.api,
  addOffsetsToTxn: addOffsetsToTxnV3.api,
  txnOffsetCommit: txnOffsetCommitV3.api,
  endTxn: endTxnV3.api,
  joinGroup: joinGroupV9.api,
  syncGroup: syncGroupV5.api,
  heartbeat: heartbeatV4.api,
  leaveGroup: leaveGroupV5.api,
  offsetCommit: offsetCommitV8.api,
  offsetFetch: offsetFetchV8.api,
  createTopics: createTopicsV7.api,
  createPartitions: createPartitionsV3.api,
  describeConfigs: describeConfigsV4.api,
  alterConfigs: incrementalAlterConfigsV1.api,
} as const

/** Asks a broker what it can do. */
export const apiVersions = apiVersionsV3.api

export interface OfferedApi {
  apiKey: number
  minVersion: number
  maxVersion: number
}

/** Requests that a broker does not understand in the version we make them, as text; empty when it does all. */
export function missingApis(offered: readonly OfferedApi[]): string[] {
  return Object.values(KAFKA_APIS as Record<string, Pick<API<unknown[], unknown>, 'key' | 'version'>>).flatMap(({ key, version }) => {
    const found = offered.find(({ apiKey }) => apiKey === key)
    if (found !== undefined && found.minVersion <= version && version <= found.maxVersion) return []
    const name = protocolAPIsById[key]
    return [`${name} in version ${version} (it offers ${found === undefined ? 'none' : `${found.minVersion} to ${found.maxVersion}`})`]
  })
}

function parseFetched(bytes: Buffer): FetchedTopic[] {
  const reader = new KafkaBytesReader(bytes)
  reader.at += 4 + 2 + 4 // throttle time, error and id of the session, which we do without
  return list(reader, () => ({ topic: reader.compactString(), partitions: list(reader, () => parsePartition(reader)) }))
}

function parsePartition(reader: KafkaBytesReader): FetchedPartition {
  const partition = reader.int32()
  const errorCode = reader.int16()
  reader.at += 8 // high watermark
  const lastStableOffset = reader.int64()
  const logStartOffset = reader.int64()
  const aborted = list(reader, () => ({ producerId: reader.int64(), firstOffset: reader.int64() }))
  reader.at += 4 // preferred replica
  const length = Math.max(0, reader.unsignedVarint() - 1)
  const records = reader.bytes.subarray(reader.at, reader.at + length)
  reader.at += length
  return { partition, errorCode, lastStableOffset, logStartOffset, aborted, records }
}

function list<T>(reader: KafkaBytesReader, read: () => T): T[] {
  return Array.from({ length: reader.compactLength() }, () => {
    const item = read()
    reader.skipTaggedFields()
    return item
  })
}
