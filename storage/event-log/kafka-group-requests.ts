import type { Broker } from '@platformatic/kafka'
import { KAFKA_APIS } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { answeredError, answerOf } from './kafka-errors.ts'
import {
  ASSIGNOR,
  assignPartitions,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  PROTOCOL_TYPE,
  type MemberSubscription,
} from './kafka-group-protocol.ts'

export interface GroupRequestsOptions {
  cluster: KafkaCluster
  connections: KafkaConnections
  group: string
  topic: string
  instanceId: string | null
}

/** What a member learns by joining. */
export interface Joined {
  memberId: string
  generation: number
  /** Null: another member deals out the partitions. */
  members: MemberSubscription[] | null
  /** A leader that came back under its instance id, and finds the partitions dealt out. */
  isDealt: boolean
}

type JoinAnswer = Awaited<ReturnType<typeof KAFKA_APIS.joinGroup.async>>

/** The requests of a member to the coordinator of its group. */
export class GroupRequests {
  readonly #options: GroupRequestsOptions

  constructor(options: GroupRequestsOptions) {
    this.#options = options
  }

  /** Resolves when all members have joined. A new member is given its id first, and joins with it. */
  async join(
    coordinator: Broker,
    memberId: string,
    has: { owned: readonly number[]; generation: number },
    onMemberId: (memberId: string) => void,
  ): Promise<Joined> {
    const { cluster, connections, group, topic, instanceId } = this.#options
    const { sessionTimeoutMs, rebalanceTimeoutMs } = cluster.config
    const protocols = [{ name: ASSIGNOR, metadata: encodeSubscription({ topic, ...has }) }]
    for (let id = memberId; ;) {
      try {
        const joinGroup = KAFKA_APIS.joinGroup
        const answer = await connections.call(
          coordinator,
          joinGroup,
          group,
          sessionTimeoutMs,
          rebalanceTimeoutMs,
          id,
          instanceId,
          PROTOCOL_TYPE,
          protocols,
          null,
        )
        onMemberId(answer.memberId ?? '')
        return joined(answer)
      } catch (error) {
        const given = answerOf<JoinAnswer>(error)?.memberId
        if (answeredError(error) !== 'MEMBER_ID_REQUIRED' || !given) throw error
        id = given
        onMemberId(id)
      }
    }
  }

  /** Resolves with our partitions; the leader tells everybody theirs by it, and is told for how many partitions it dealt. */
  async sync(
    coordinator: Broker,
    { memberId, generation, members, isDealt }: Joined,
  ): Promise<{ assigned: number[]; partitionsDealt: number | null }> {
    const { cluster, connections, group, topic, instanceId } = this.#options
    let assignments: { memberId: string; assignment: Buffer }[] = []
    let partitionsDealt: number | null = null
    if (members !== null) {
      await cluster.refresh([topic])
      partitionsDealt = cluster.known(topic)?.leaders.length ?? 0
      const dealt = isDealt ? [] : [...assignPartitions(members, partitionsDealt)]
      assignments = dealt.map(([id, partitions]) => ({ memberId: id, assignment: encodeAssignment(topic, partitions) }))
      // Whether the topic grew while its leader was away is found out by one more rebalance.
      if (isDealt) partitionsDealt = 0
    }
    const { assignment } = await connections.call(
      coordinator,
      KAFKA_APIS.syncGroup,
      group,
      generation,
      memberId,
      instanceId,
      PROTOCOL_TYPE,
      ASSIGNOR,
      assignments,
    )
    return { assigned: decodeAssignment(assignment), partitionsDealt }
  }

  async heartbeat(coordinator: Broker, memberId: string, generation: number): Promise<void> {
    const { connections, group, instanceId } = this.#options
    await connections.call(coordinator, KAFKA_APIS.heartbeat, group, generation, memberId, instanceId)
  }

  async leave(coordinator: Broker, memberId: string): Promise<void> {
    const { connections, group } = this.#options
    await connections.call(coordinator, KAFKA_APIS.leaveGroup, group, [{ memberId, groupInstanceId: null, reason: 'closed' }])
  }
}

function joined(answer: JoinAnswer): Joined {
  const { memberId, generationId: generation, leader, members, skipAssignment: isDealt } = answer
  const isLeader = leader === memberId
  return {
    memberId: memberId ?? '',
    generation,
    members: isLeader ? members.map(({ memberId: id, metadata }) => decodeSubscription(id, metadata ?? Buffer.alloc(0))) : null,
    isDealt,
  }
}
