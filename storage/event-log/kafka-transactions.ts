import type { Broker } from '@platformatic/kafka'
import { describeError } from '../../kernel/errors.ts'
import type { TopicMessages } from './event-log.ts'
import { KAFKA_APIS } from './kafka-apis.ts'
import { COORDINATOR, type KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { fenced, isProducerFenced, toKafkaError, unavailable } from './kafka-errors.ts'
import type { GroupIdentity, KafkaGroupMember } from './kafka-group-member.ts'
import { committedPartitions, isCoordinatorAway } from './kafka-group-offsets.ts'
import { MessageEncoder } from './kafka-message-encoder.ts'
import { produceBatches, SEQUENCE_MASK } from './kafka-produce.ts'
import { RecordBatch } from './kafka-record-batch.ts'
import { checkedMessageBytes } from './message-bounds.ts'

export interface KafkaTransactionsOptions {
  cluster: KafkaCluster
  connections: KafkaConnections
  member: KafkaGroupMember
  group: string
  /** Input topic, with the prefix. */
  topic: string
  topicPrefix: string
  /** Kafka knows the producer by it: with the same one after a restart, what the process before left open ends at once. */
  transactionalId: string
}

interface OutputBatch {
  topic: string
  partition: number
  batch: RecordBatch
}

/**
 * Commits offsets and outputs in one Kafka transaction, one after the other. Whether a transaction is committed is decided by one answer;
 * once that was asked for, it is asked again until it comes: nobody is told that nothing was committed when it was.
 */
export class KafkaTransactions {
  readonly #options: KafkaTransactionsOptions
  readonly #cluster: KafkaCluster
  readonly #encoder = new MessageEncoder()
  readonly #sequences = new Map<string, number>()
  #producerId = -1n
  #epoch = -1
  #isReady = false
  #coordinator: Broker | null = null

  constructor(options: KafkaTransactionsOptions) {
    this.#options = options
    this.#cluster = options.cluster
  }

  /** `isOver` says that the answer is of no use any more: the partitions were lost, or the consumer closed. */
  async commit(
    offsets: ReadonlyMap<number, number>,
    outputs: readonly TopicMessages[],
    identity: GroupIdentity,
    isOver: () => boolean,
  ): Promise<void> {
    const rounds = await this.#encode(outputs)
    try {
      if (!this.#isReady) await this.#initialise()
      await this.#addPartitions(rounds.flat())
      await this.#addOffsets()
      // Offsets first in the list: that the group went on without us says more than what becomes of the outputs.
      const results = await Promise.allSettled([this.#commitOffsets(offsets, identity), this.#produce(rounds)])
      for (const result of results) if (result.status === 'rejected') throw result.reason
    } catch (error) {
      await this.#abort()
      // Only our numbers were refused, nothing was committed: the next commit takes new ones.
      if (isProducerFenced(error)) throw unavailable('the transaction was given up by Kafka before its end', error)
      throw error
    }
    await this.#end(isOver)
  }

  /** Batches per partition, in rounds of one batch each. */
  async #encode(outputs: readonly TopicMessages[]): Promise<OutputBatch[][]> {
    const { messageBytesMax, batchBytesMax, compression } = this.#cluster.config
    const rounds: OutputBatch[][] = []
    const open = new Map<string, { round: number; batch: RecordBatch }>()
    for (const { topic: name, messages } of outputs) {
      const topic = this.#options.topicPrefix + name
      const partitions = (await this.#cluster.topic(topic)).leaders.length
      for (const message of messages) {
        checkedMessageBytes(message, messageBytesMax)
        const partition = this.#encoder.place(message, partitions)
        const key = `${topic}/${partition}`
        let current = open.get(key)
        if (current === undefined || current.batch.bytes + this.#encoder.bytes(message) > batchBytesMax) {
          current = { round: current === undefined ? 0 : current.round + 1, batch: new RecordBatch(this.#cluster.clock.nowMs()) }
          open.set(key, current)
          ;(rounds[current.round] ??= []).push({ topic, partition, batch: current.batch })
        }
        this.#encoder.add(current.batch, message)
      }
    }
    for (const { batch } of rounds.flat()) batch.seal(compression, true)
    return rounds
  }

  /** New numbers; whatever was left open under our id is given up by it. */
  async #initialise(): Promise<void> {
    const { transactionalId } = this.#options
    const { transactionTimeoutMs } = this.#cluster.config
    const { producerId, producerEpoch } = await this.#ask('the producer of transactions could not be prepared', (broker) =>
      this.#options.connections.call(
        broker,
        KAFKA_APIS.initProducerId,
        transactionalId,
        transactionTimeoutMs,
        this.#producerId,
        this.#epoch,
      ),
    )
    this.#producerId = producerId
    this.#epoch = producerEpoch
    this.#sequences.clear()
    this.#isReady = true
  }

  async #addPartitions(batches: readonly OutputBatch[]): Promise<void> {
    const topics = new Map<string, Set<number>>()
    for (const { topic, partition } of batches) topics.set(topic, (topics.get(topic) ?? new Set()).add(partition))
    const named = Array.from(topics, ([name, partitions]) => ({ name, partitions: [...partitions] }))
    const { transactionalId, connections } = this.#options
    await this.#ask('outputs could not be added to the transaction', (broker) =>
      connections.call(broker, KAFKA_APIS.addPartitionsToTxn, [
        { transactionalId, producerId: this.#producerId, producerEpoch: this.#epoch, verifyOnly: false, topics: named },
      ]),
    )
  }

  async #addOffsets(): Promise<void> {
    const { transactionalId, group, connections } = this.#options
    await this.#ask('offsets could not be added to the transaction', (broker) =>
      connections.call(broker, KAFKA_APIS.addOffsetsToTxn, transactionalId, this.#producerId, this.#epoch, group),
    )
  }

  async #produce(rounds: readonly OutputBatch[][]): Promise<void> {
    for (const round of rounds) {
      let left = round.map(({ topic, partition, batch }) => {
        const key = `${topic}/${partition}`
        const baseSequence = this.#sequences.get(key) ?? 0
        this.#sequences.set(key, (baseSequence + batch.count) & SEQUENCE_MASK)
        return { topic, partition, bytes: batch.stamp({ producerId: this.#producerId, producerEpoch: this.#epoch, baseSequence }) }
      })
      await this.#cluster.retry('outputs could not be appended', async () => {
        const results = await produceBatches(this.#cluster, this.#options.connections, this.#options.transactionalId, left)
        const failed =
          results.find(({ status }) => status === 'refused' || status === 'unknown-producer') ??
          results.find(({ status }) => status === 'again')
        left = left.filter((_, i) => results[i]!.status === 'again')
        if (failed === undefined || failed.status === 'stored') return
        if (failed.status === 'again') await this.#cluster.refresh()
        throw failed.error
      })
    }
  }

  /** Refused when the group went on without us: then the outputs are given up too. */
  async #commitOffsets(offsets: ReadonlyMap<number, number>, identity: GroupIdentity): Promise<void> {
    const { transactionalId, group, topic, member, connections } = this.#options
    await this.#cluster.retry(`offsets of group ${group} could not be committed`, async () => {
      try {
        await connections.call(
          await member.coordinator(),
          KAFKA_APIS.txnOffsetCommit,
          transactionalId,
          group,
          this.#producerId,
          this.#epoch,
          identity.generation,
          identity.memberId,
          identity.instanceId,
          [{ name: topic, partitions: committedPartitions(offsets) }],
        )
      } catch (error) {
        if (isCoordinatorAway(error)) member.forgetCoordinator()
        throw error
      }
    })
  }

  /** The one answer that decides. */
  async #end(isOver: () => boolean): Promise<void> {
    const { transactionalId, group, connections } = this.#options
    for (;;) {
      try {
        await this.#ask(`a transaction of group ${group} could not be committed`, (broker) =>
          connections.call(broker, KAFKA_APIS.endTxn, transactionalId, this.#producerId, this.#epoch, true),
        )
        return
      } catch (error) {
        const problem = toKafkaError(error, `a transaction of group ${group} could not be committed`, this.#cluster.where)
        if (problem.retryable && !isOver() && !this.#cluster.stopped.aborted) {
          this.#cluster.log.warn({ group, error: describeError(problem) }, 'asking again whether a transaction was committed')
          continue
        }
        this.#isReady = false
        if (this.#cluster.stopped.aborted || isOver())
          throw fenced(`group ${group}: whether its last transaction was committed only its next owner learns`, error)
        throw isProducerFenced(error) ? fenced(problem.message, error) : problem
      }
    }
  }

  /** Gives the transaction up now, so that nobody waits for it until it times out. */
  async #abort(): Promise<void> {
    this.#isReady = false
    if (this.#cluster.stopped.aborted || this.#producerId < 0n) return
    try {
      await this.#initialise()
    } catch (error) {
      this.#cluster.log.warn({ group: this.#options.group, error: describeError(error) }, 'a transaction is left to its timeout')
      if (isProducerFenced(error)) {
        this.#producerId = -1n
        this.#epoch = -1
      }
    }
  }

  #ask<T>(what: string, run: (coordinator: Broker) => Promise<T>): Promise<T> {
    return this.#cluster.retry(what, async () => {
      try {
        this.#coordinator ??= await this.#cluster.coordinator(COORDINATOR.transaction, this.#options.transactionalId)
        return await run(this.#coordinator)
      } catch (error) {
        if (isCoordinatorAway(error)) this.#coordinator = null
        throw error
      }
    })
  }
}
