import type { Broker } from '@platformatic/kafka'
import { TimeoutError, describeError, type FleetpulseError } from '../../kernel/errors.ts'
import { withTimeout } from '../../kernel/retry.ts'
import { every, type Timer } from '../../kernel/time.ts'
import { COORDINATOR, type KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { answeredError, toKafkaError, unavailable } from './kafka-errors.ts'
import { GroupRequests } from './kafka-group-requests.ts'

export interface GroupMemberOptions {
  cluster: KafkaCluster
  /** With the prefixes, as Kafka knows them. */
  group: string
  topic: string
  /** Static membership; null = none. */
  instanceId: string | null
  /** The owner flushes and commits. */
  onRevoked: (partitions: readonly number[]) => Promise<void>
  onAssigned: (partitions: readonly number[]) => Promise<void>
  onLost: (partitions: readonly number[]) => void
}

/** A heartbeat that takes longer than this part of a session is given up, so that another one can save it. */
const BEATS_PER_SESSION = 3

/** By which a commit proves that it is this member's. */
export interface GroupIdentity {
  memberId: string
  generation: number
  instanceId: string | null
}

/**
 * A member of a consumer group by Kafka's classic protocol, with cooperative rebalancing: partitions that stay are worked on all the
 * while; one that moves is given back first, and its next owner gets it in a second, immediate rebalance.
 */
export class KafkaGroupMember {
  readonly #options: GroupMemberOptions
  readonly #cluster: KafkaCluster
  readonly #connections: KafkaConnections
  readonly #requests: GroupRequests
  readonly #part: string
  #memberId = ''
  #generation = -1
  #owned: number[] = []
  /** Of the leader: for how many partitions it dealt. */
  #partitionsDealt: number | null = null
  #coordinator: Broker | null = null
  #mustJoin = true
  #isJoining = false
  #isBeating = false
  #isClosed = false
  #failure: FleetpulseError | null = null
  #loop: Promise<void> | null = null
  #beats: Timer | null = null
  #onChange: (() => void)[] = []

  constructor(options: GroupMemberOptions) {
    this.#options = options
    this.#cluster = options.cluster
    this.#connections = options.cluster.connections(options.cluster.config.rebalanceTimeoutMs)
    this.#requests = new GroupRequests({ ...options, connections: this.#connections })
    this.#part = `group ${options.group}`
  }

  /** Why nothing can be read; null when all is well or being mended. */
  get failure(): FleetpulseError | null {
    return this.#failure
  }

  /** Null before the group was joined, and after it was lost. */
  get identity(): GroupIdentity | null {
    if (this.#generation < 0) return null
    return { memberId: this.#memberId, generation: this.#generation, instanceId: this.#options.instanceId }
  }

  /** Joins, and stays. */
  start(): void {
    const { clock, config, log } = this.#cluster
    this.#loop ??= this.#run()
    this.#beats ??= every(
      clock,
      config.heartbeatMs,
      () => this.#beat(),
      (error) => log.warn({ group: this.#options.group, error: describeError(error) }, 'heartbeat failed'),
    )
  }

  /** Resolves when another generation than this one holds, or none does; or when `isOver`, after `wake`. */
  async changed(generation: number, isOver: () => boolean): Promise<void> {
    void this.#beat()
    while ((this.#generation === generation || this.#isJoining) && !this.#isClosed && !isOver()) await this.#change()
  }

  /** Lets who waits for a change look again. */
  wake(): void {
    this.#tellChange()
  }

  async coordinator(): Promise<Broker> {
    this.#coordinator ??= await this.#cluster.coordinator(COORDINATOR.group, this.#options.group)
    return this.#coordinator
  }

  forgetCoordinator(): void {
    this.#coordinator = null
  }

  /** Leaves, so that the others need not wait for the session to end. A static member stays in the group: it may come back. */
  async close(): Promise<void> {
    this.#cluster.health.worked(this.#part)
    if (this.#isClosed) return
    this.#isClosed = true
    this.#beats?.cancel()
    // Ends a rebalance that is waited for.
    this.#connections.cut()
    this.#tellChange()
    const { group, instanceId } = this.#options
    if (this.#memberId !== '' && instanceId === null && !this.#cluster.stopped.aborted) {
      try {
        await this.#requests.leave(await this.coordinator(), this.#memberId)
      } catch (error) {
        this.#cluster.log.debug({ group, error: describeError(error) }, 'left without notice')
      }
    }
    this.#cluster.release(this.#connections)
    this.#generation = -1
    await this.#loop
    this.#cluster.health.worked(this.#part)
  }

  async #run(): Promise<void> {
    let attempt = 0
    while (!this.#isClosed) {
      if (!this.#mustJoin) {
        await this.#change()
        continue
      }
      try {
        await this.#join()
        attempt = 0
      } catch (error) {
        if (this.#isClosed) return
        this.#joinFailed(error)
        if (this.#isClosed) return
        await this.#cluster.pause(++attempt)
      } finally {
        this.#isJoining = false
        this.#tellChange()
      }
    }
  }

  /** One rebalance, as far as it concerns us. */
  async #join(): Promise<void> {
    this.#isJoining = true
    const coordinator = await this.coordinator()
    const joined = await this.#requests.join(
      coordinator,
      this.#memberId,
      { owned: this.#owned, generation: this.#generation },
      (memberId) => {
        this.#memberId = memberId
      },
    )
    const { assigned, partitionsDealt } = await this.#requests.sync(coordinator, joined)
    const { generation } = joined
    this.#partitionsDealt = partitionsDealt
    this.#generation = generation
    this.#mustJoin = false
    this.#isJoining = false
    this.#failure = null
    this.#cluster.health.worked(this.#part)
    this.#tellChange()
    const revoked = this.#owned.filter((partition) => !assigned.includes(partition))
    const added = assigned.filter((partition) => !this.#owned.includes(partition))
    this.#cluster.log.debug({ group: this.#options.group, generation, assigned, revoked, added }, 'joined the group')
    if (revoked.length > 0) {
      await this.#giveBack(revoked)
      if (this.#generation !== generation) return
      this.#owned = this.#owned.filter((partition) => assigned.includes(partition))
      this.#mustJoin = true
    }
    if (added.length > 0 && !this.#isClosed) {
      this.#owned = [...this.#owned, ...added].sort((a, b) => a - b)
      await this.#options.onAssigned(added)
    }
  }

  async #giveBack(partitions: readonly number[]): Promise<void> {
    const { clock, config, log } = this.#cluster
    const { group, onRevoked } = this.#options
    try {
      await withTimeout(clock, config.revokeTimeoutMs, 'giving partitions back', onRevoked(partitions))
    } catch (error) {
      const isLate = error instanceof TimeoutError
      log.error(
        { group, partitions, error: describeError(error) },
        isLate ? 'partitions are given away unflushed' : 'flushing given-back partitions failed',
      )
    }
  }

  #joinFailed(error: unknown): void {
    const id = answeredError(error)
    const { group } = this.#options
    if (id === 'REBALANCE_IN_PROGRESS') return
    if (id === 'UNKNOWN_MEMBER_ID' || id === 'ILLEGAL_GENERATION') return this.#lose(id)
    const problem = toKafkaError(error, `group ${group} could not be joined`, this.#cluster.where)
    if (id === 'FENCED_INSTANCE_ID') {
      this.#fail(problem)
      return
    }
    this.forgetCoordinator()
    this.#failure = problem.retryable ? null : problem
    this.#cluster.health.failed(this.#part, problem)
    this.#cluster.log.warn({ group, error: describeError(problem) }, 'group not joined, trying again')
  }

  /** Tells the coordinator that we live, and hears whether partitions move. */
  async #beat(): Promise<void> {
    // Also between two rebalances, while the owner flushes or prepares.
    if (this.#isBeating || this.#isJoining || this.#isClosed || this.#generation < 0) return
    const generation = this.#generation
    this.#isBeating = true
    try {
      const { clock, config } = this.#cluster
      const beating = this.#requests.heartbeat(await this.coordinator(), this.#memberId, generation)
      await withTimeout(clock, config.sessionTimeoutMs / BEATS_PER_SESSION, 'a heartbeat', beating)
      this.#cluster.health.worked(this.#part)
      const isGrown = this.#partitionsDealt !== null && this.#partitionsDealt !== this.#cluster.known(this.#options.topic)?.leaders.length
      if (isGrown) this.#rejoin()
    } catch (error) {
      if (generation === this.#generation && !this.#isClosed) this.#beatFailed(error)
    } finally {
      this.#isBeating = false
    }
  }

  #beatFailed(error: unknown): void {
    const id = answeredError(error)
    if (id === 'REBALANCE_IN_PROGRESS') return this.#rejoin()
    if (id === 'UNKNOWN_MEMBER_ID' || id === 'ILLEGAL_GENERATION') return this.#lose(id)
    const isLate = error instanceof TimeoutError
    const what = `the heartbeat of a member of group ${this.#options.group}`
    const problem = toKafkaError(
      isLate ? unavailable(`Kafka at ${this.#cluster.where} does not answer ${what}`, error) : error,
      what,
      this.#cluster.where,
    )
    if (id === 'FENCED_INSTANCE_ID') return this.#fail(problem)
    if (isLate) this.#connections.cut()
    // The session may outlive it: only the coordinator says whether we are out.
    this.forgetCoordinator()
    this.#cluster.health.failed(this.#part, problem)
  }

  #rejoin(): void {
    this.#mustJoin = true
    this.#tellChange()
  }

  /** The group went on without us. */
  #lose(why: string): void {
    const partitions = this.#owned
    this.#owned = []
    this.#generation = -1
    if (why !== 'ILLEGAL_GENERATION') this.#memberId = ''
    if (partitions.length > 0) {
      this.#cluster.log.warn({ group: this.#options.group, partitions, why }, 'partitions were lost to other members of the group')
      this.#options.onLost(partitions)
    }
    this.#rejoin()
  }

  /** Another process joined under our instance id: to join again would only put that one out. */
  #fail(problem: FleetpulseError): void {
    this.#failure = problem
    this.#cluster.health.failed(this.#part, problem)
    this.#lose('FENCED_INSTANCE_ID')
    this.#isClosed = true
    this.#beats?.cancel()
    this.#cluster.release(this.#connections)
    this.#tellChange()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#onChange.push(resolve))
  }

  #tellChange(): void {
    for (const run of this.#onChange.splice(0)) run()
  }
}
