import type { StartPosition } from './event-log.ts'
import type { Topic } from './topic-catalog.ts'

/** A member as its group sees it. */
export interface GroupMember {
  readonly from: StartPosition
  /** Gives the member its partitions, in ascending order; called at every change. */
  assign(partitions: readonly number[]): void
}

/**
 * The members of one group in this process that share one topic. Partitions are dealt out evenly and stay where they are as far as
 * that allows. What a group commits for a partition settles before the partition's next owner begins.
 */
export class ConsumerGroup {
  readonly name: string
  readonly topic: Topic
  /** Where the group began in partitions that it never committed; kept while the group has members. */
  readonly starts = new Map<number, number>()
  readonly #members = new Map<GroupMember, number[]>()
  readonly #commits = new Map<number, Promise<unknown>>()

  constructor(name: string, topic: Topic) {
    this.name = name
    this.topic = topic
  }

  get isEmpty(): boolean {
    return this.#members.size === 0
  }

  join(member: GroupMember): void {
    this.#members.set(member, [])
    this.rebalance()
  }

  leave(member: GroupMember): void {
    if (this.#members.delete(member)) this.rebalance()
    if (this.isEmpty) this.starts.clear()
  }

  /** Also after the topic got more partitions. */
  rebalance(): void {
    const dealt = deal([...this.#members.values()], this.topic.partitions)
    let i = 0
    for (const member of [...this.#members.keys()]) {
      const partitions = dealt[i++]!
      this.#members.set(member, partitions)
      member.assign(partitions)
    }
  }

  /** Remembers a commit under way. */
  committing(partitions: Iterable<number>, commit: Promise<unknown>): void {
    for (const partition of partitions) {
      const before = this.#commits.get(partition)
      const both = Promise.allSettled([before, commit])
      this.#commits.set(partition, both)
      void both.then(() => {
        if (this.#commits.get(partition) === both) this.#commits.delete(partition)
      })
    }
  }

  /** Resolves when no commit is under way. */
  async idle(): Promise<void> {
    while (this.#commits.size > 0) await Promise.all(this.#commits.values())
  }

  /** Resolves when no commit for the partition is under way. */
  async settled(partition: number): Promise<void> {
    await this.#commits.get(partition)
  }
}

/** Deals `partitions` to as many members as `owned` has lists, evenly to within one, moving as few as possible. */
export function deal(owned: readonly (readonly number[])[], partitions: number): number[][] {
  if (owned.length === 0) return []
  const share = Math.floor(partitions / owned.length)
  let extra = partitions % owned.length
  const quotas = owned.map(() => share)
  // Those who have more already keep the odd partitions.
  const byOwned = owned.map((_, i) => i).sort((a, b) => owned[b]!.length - owned[a]!.length || a - b)
  for (const i of byOwned) if (extra-- > 0) quotas[i]!++
  const dealt = owned.map((list, i) => list.filter((partition) => partition < partitions).slice(0, quotas[i]))
  const taken = new Set(dealt.flat())
  const free = Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => !taken.has(partition))
  dealt.forEach((list, i) => {
    while (list.length < quotas[i]!) list.push(free.shift()!)
    list.sort((a, b) => a - b)
  })
  return dealt
}
