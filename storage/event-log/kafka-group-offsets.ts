import { KAFKA_APIS } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { answeredError } from './kafka-errors.ts'
import type { GroupIdentity, KafkaGroupMember } from './kafka-group-member.ts'

/** An offset as requests to commit name it. */
export interface CommittedPartition {
  partitionIndex: number
  committedOffset: bigint
  committedLeaderEpoch: number
  committedMetadata: string | null
}

/** By these the coordinator tells that it moved or is not ready. */
const COORDINATOR_IDS: ReadonlySet<string> = new Set(['NOT_COORDINATOR', 'COORDINATOR_NOT_AVAILABLE', 'COORDINATOR_LOAD_IN_PROGRESS'])

export function isCoordinatorAway(error: unknown): boolean {
  const id = answeredError(error)
  return id === undefined || COORDINATOR_IDS.has(id)
}

/** What a group has committed of one topic. */
export class KafkaGroupOffsets {
  readonly #cluster: KafkaCluster
  readonly #connections: KafkaConnections
  readonly #member: KafkaGroupMember
  readonly #group: string
  readonly #topic: string

  constructor(options: { cluster: KafkaCluster; connections: KafkaConnections; member: KafkaGroupMember; group: string; topic: string }) {
    this.#cluster = options.cluster
    this.#connections = options.connections
    this.#member = options.member
    this.#group = options.group
    this.#topic = options.topic
  }

  /** Absent: never committed. Waits for transactions that are being committed. */
  async committed(partitions: readonly number[]): Promise<Map<number, number>> {
    if (partitions.length === 0) return new Map()
    const { groups } = await this.#ask(`committed offsets of group ${this.#group} could not be read`, async () =>
      this.#connections.call(
        await this.#member.coordinator(),
        KAFKA_APIS.offsetFetch,
        [{ groupId: this.#group, memberEpoch: -1, topics: [{ name: this.#topic, partitionIndexes: [...partitions] }] }],
        true,
      ),
    )
    const offsets = new Map<number, number>()
    for (const { partitionIndex, committedOffset } of groups[0]?.topics[0]?.partitions ?? []) {
      if (committedOffset >= 0n) offsets.set(partitionIndex, Number(committedOffset))
    }
    return offsets
  }

  async commit(offsets: ReadonlyMap<number, number>, identity: GroupIdentity): Promise<void> {
    await this.#ask(`offsets of group ${this.#group} could not be committed`, async () =>
      this.#connections.call(
        await this.#member.coordinator(),
        KAFKA_APIS.offsetCommit,
        this.#group,
        identity.generation,
        identity.memberId,
        identity.instanceId,
        [{ name: this.#topic, partitions: committedPartitions(offsets) }],
      ),
    )
  }

  #ask<T>(what: string, run: () => Promise<T>): Promise<T> {
    return this.#cluster.retry(what, async () => {
      try {
        return await run()
      } catch (error) {
        if (isCoordinatorAway(error)) this.#member.forgetCoordinator()
        throw error
      }
    })
  }
}

export function committedPartitions(offsets: ReadonlyMap<number, number>): CommittedPartition[] {
  return Array.from(offsets, ([partitionIndex, offset]) => ({
    partitionIndex,
    committedOffset: BigInt(offset),
    committedLeaderEpoch: -1,
    committedMetadata: null,
  }))
}
