import { KAFKA_APIS } from './kafka-apis.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { toKafkaError, unavailable } from './kafka-errors.ts'
import { produceBatches, SEQUENCE_MASK, type Produced } from './kafka-produce.ts'
import type { BatchStamp, RecordBatch } from './kafka-record-batch.ts'

/** A sealed batch and its place. */
export interface Outgoing {
  /** With the prefix. */
  topic: string
  partition: number
  batch: RecordBatch
  /** Nobody waits for it any more: it is not sent again. */
  isAbandoned: boolean
}

export type Outcome = { status: 'stored'; baseOffset: number } | { status: 'failed'; error: unknown }

const PRODUCER_EPOCH_MAX = 32_767

/**
 * An idempotent producer: Kafka recognises a batch that is sent again by its numbers, and stores it once. One round of batches is on its
 * way at a time, at most one per partition, so that a repeated batch cannot be overtaken. After a batch whose fate is unknown was given
 * up, the producer goes on under a new epoch, for the next batch must not be taken for it.
 */
export class IdempotentProducer {
  readonly #cluster: KafkaCluster
  readonly #connections: KafkaConnections
  readonly #sequences = new Map<string, number>()
  #producerId: bigint | null = null
  #epoch = 0

  constructor(cluster: KafkaCluster, connections: KafkaConnections) {
    this.#cluster = cluster
    this.#connections = connections
  }

  /** Sends until each batch is stored, refused or abandoned; tells `settled` of each as it is known. */
  async send(round: readonly Outgoing[], settled: (outgoing: Outgoing, outcome: Outcome) => void): Promise<void> {
    let left = [...round]
    let unnumbered: Outgoing[] = []
    const stamps = new Map<Outgoing, BatchStamp>()
    let isUncertain = false
    let reason: unknown
    for (let attempt = 1; left.length > 0; attempt++) {
      for (const outgoing of left.filter(({ isAbandoned }) => isAbandoned)) {
        isUncertain ||= stamps.has(outgoing)
        settled(outgoing, { status: 'failed', error: reason })
      }
      left = left.filter(({ isAbandoned }) => !isAbandoned)
      if (left.length > 0) {
        try {
          await this.#initialise()
          for (const outgoing of left) if (!stamps.has(outgoing)) stamps.set(outgoing, this.#nextStamp(outgoing))
          const again: Outgoing[] = []
          const results = await this.#try(left, stamps)
          results.forEach((result, i) => {
            const outgoing = left[i]!
            if (result.status === 'stored') return settled(outgoing, result)
            reason = result.error
            if (result.status === 'refused') {
              isUncertain = true
              return settled(outgoing, { status: 'failed', error: result.error })
            }
            ;(result.status === 'again' ? again : unnumbered).push(outgoing)
          })
          left = again
        } catch (error) {
          reason = error
          const problem = toKafkaError(error, 'messages could not be appended', this.#cluster.where)
          if (!problem.retryable) return this.#giveUp([...left, ...unnumbered], problem, settled)
        }
      }
      if (left.length === 0 && unnumbered.length > 0) {
        // Nothing of the old epoch is on its way any more: what Kafka lost count of is numbered anew.
        this.#renew()
        for (const outgoing of unnumbered) stamps.delete(outgoing)
        left = unnumbered
        unnumbered = []
      }
      if (left.length > 0) await this.#prepareNextTry(attempt, reason)
      if (this.#cluster.stopped.aborted)
        return this.#giveUp([...left, ...unnumbered], unavailable('the event log is stopped', reason), settled)
    }
    if (isUncertain) this.#renew()
  }

  #giveUp(rest: readonly Outgoing[], error: unknown, settled: (outgoing: Outgoing, outcome: Outcome) => void): void {
    this.#renew()
    for (const outgoing of rest) settled(outgoing, { status: 'failed', error })
  }

  #try(left: readonly Outgoing[], stamps: ReadonlyMap<Outgoing, BatchStamp>): Promise<Produced[]> {
    const batches = left.map((outgoing) => ({
      topic: outgoing.topic,
      partition: outgoing.partition,
      bytes: outgoing.batch.stamp(stamps.get(outgoing)!),
    }))
    return produceBatches(this.#cluster, this.#connections, null, batches)
  }

  async #prepareNextTry(attempt: number, reason: unknown): Promise<void> {
    this.#cluster.health.failed('append', toKafkaError(reason, 'messages wait to be appended', this.#cluster.where))
    await this.#cluster.pause(attempt)
    try {
      await this.#cluster.refresh()
    } catch (error) {
      this.#cluster.health.failed('append', toKafkaError(error, 'messages wait to be appended', this.#cluster.where))
    }
  }

  #nextStamp({ topic, partition, batch }: Outgoing): BatchStamp {
    const key = `${topic}/${partition}`
    const baseSequence = this.#sequences.get(key) ?? 0
    this.#sequences.set(key, (baseSequence + batch.count) & SEQUENCE_MASK)
    return { producerId: this.#producerId!, producerEpoch: this.#epoch, baseSequence }
  }

  async #initialise(): Promise<void> {
    if (this.#producerId !== null) return
    const { producerId, producerEpoch } = await this.#cluster.callAny(KAFKA_APIS.initProducerId, null, 0, -1n, -1)
    this.#producerId = producerId
    this.#epoch = producerEpoch
  }

  /** A new epoch begins its numbers at zero, and Kafka refuses what comes late of the old one. */
  #renew(): void {
    this.#sequences.clear()
    this.#epoch++
    if (this.#epoch >= PRODUCER_EPOCH_MAX) this.#producerId = null
  }
}
