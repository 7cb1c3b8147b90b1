import { withTimeout } from '../../kernel/retry.ts'
import type { TopicMessages } from './event-log.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { fenced, isOtherGeneration } from './kafka-errors.ts'
import { KafkaGroupMember, type GroupIdentity, type GroupMemberOptions } from './kafka-group-member.ts'
import { KafkaGroupOffsets } from './kafka-group-offsets.ts'
import { KafkaTransactions } from './kafka-transactions.ts'

export interface KafkaConsumerGroupOptions extends GroupMemberOptions {
  topicPrefix: string
  transactionalId: string
}

/** A consumer's part in its group: membership, and commits that prove it. */
export class KafkaConsumerGroup {
  readonly member: KafkaGroupMember
  readonly offsets: KafkaGroupOffsets
  readonly #cluster: KafkaCluster
  readonly #connections: KafkaConnections
  readonly #group: string
  readonly #transactions: KafkaTransactions
  #commits: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: KafkaConsumerGroupOptions) {
    const { cluster, group, topic, topicPrefix, transactionalId } = options
    this.#cluster = cluster
    this.#group = group
    // A rebalance keeps the member's own connection waiting; commits go on meanwhile.
    this.#connections = cluster.connections()
    this.member = new KafkaGroupMember(options)
    const { member } = this
    this.offsets = new KafkaGroupOffsets({ cluster, connections: this.#connections, member, group, topic })
    this.#transactions = new KafkaTransactions({
      cluster,
      connections: this.#connections,
      member,
      group,
      topic,
      topicPrefix,
      transactionalId,
    })
  }

  /**
   * One commit after the other. `isOurs` says whether all its partitions are this member's, without a break since the commit began.
   * Rejects with LOG_FENCED when they are not.
   */
  commit(offsets: ReadonlyMap<number, number>, outputs: readonly TopicMessages[], isOurs: () => boolean): Promise<void> {
    const mine = this.#commits.then(() => this.#commit(offsets, outputs, isOurs))
    this.#commits = mine.catch(() => undefined)
    return mine
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.member.wake()
    await this.#commits
    await this.member.close()
    this.#cluster.release(this.#connections)
  }

  async #commit(offsets: ReadonlyMap<number, number>, outputs: readonly TopicMessages[], isOurs: () => boolean): Promise<void> {
    for (;;) {
      const { identity } = this.member
      if (identity === null || this.#isClosed || !isOurs())
        throw fenced(`group ${this.#group}: the partitions are not this member's any more`)
      try {
        return await this.#commitAs(identity, offsets, outputs, () => this.#isClosed || !isOurs())
      } catch (error) {
        if (!isOtherGeneration(error)) throw error
        // The group rebalances. Partitions that stay ours are committed under the new generation.
        const { clock, config } = this.#cluster
        await withTimeout(
          clock,
          config.rebalanceTimeoutMs,
          'the rebalance',
          this.member.changed(identity.generation, () => this.#isClosed),
        )
      }
    }
  }

  #commitAs(
    identity: GroupIdentity,
    offsets: ReadonlyMap<number, number>,
    outputs: readonly TopicMessages[],
    isOver: () => boolean,
  ): Promise<void> {
    const isTold = outputs.some(({ messages }) => messages.length > 0)
    return isTold ? this.#transactions.commit(offsets, outputs, identity, isOver) : this.offsets.commit(offsets, identity)
  }
}
