import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assignPartitions, decodeAssignment, decodeSubscription, encodeAssignment, encodeSubscription } from './kafka-group-protocol.ts'

test('subscriptions and assignments are read as they were written', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(200)),
      fc.integer({ min: -1, max: 9_999 }),
      fc.string({ minLength: 1, maxLength: 50 }),
      (owned, generation, topic) => {
        assert.deepEqual(decodeSubscription('m', encodeSubscription({ topic, owned, generation })), {
          memberId: 'm',
          topic,
          owned,
          generation,
        })
        assert.deepEqual(
          decodeAssignment(encodeAssignment(topic, owned)),
          [...owned].sort((a, b) => a - b),
        )
      },
    ),
  )
  assert.deepEqual(decodeAssignment(Buffer.alloc(0)), [])
})

/** A group as members live it: every rebalance is answered by giving back what is not theirs any more. */
class Group {
  readonly owned = new Map<string, { partitions: number[]; generation: number }>()
  #generation = 0

  /** Answers whether another rebalance must follow. */
  rebalance(partitions: number): boolean {
    this.#generation++
    const members = Array.from(this.owned, ([memberId, { partitions: list, generation }]) => ({
      memberId,
      topic: 't',
      owned: list,
      generation,
    }))
    const assigned = assignPartitions(members, partitions)
    let mustFollow = false
    for (const [memberId, before] of this.owned) {
      const after = assigned.get(memberId)!
      for (const partition of after) {
        const owner = [...this.owned].find(([other, { partitions: list }]) => other !== memberId && list.includes(partition))
        assert.equal(owner, undefined, `${partition} was given to ${memberId} while ${owner?.[0]} works on it`)
      }
      mustFollow ||= before.partitions.some((partition) => !after.includes(partition))
    }
    for (const memberId of this.owned.keys())
      this.owned.set(memberId, { partitions: assigned.get(memberId)!, generation: this.#generation })
    return mustFollow
  }
}

test('whoever comes and goes: no partition has two owners, and all are dealt out evenly in two rebalances', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 24 }),
      fc.array(fc.constantFrom('join', 'leave', 'grow'), { minLength: 1, maxLength: 12 }),
      (start, changes) => {
        const group = new Group()
        let partitions = start
        let names = 0
        for (const change of ['join', ...changes]) {
          if (change === 'join') group.owned.set(`m${names++}`, { partitions: [], generation: -1 })
          if (change === 'leave' && group.owned.size > 1) group.owned.delete([...group.owned.keys()][names % group.owned.size]!)
          if (change === 'grow') partitions += 2
          if (group.rebalance(partitions)) assert.equal(group.rebalance(partitions), false)
          const lists = Array.from(group.owned.values(), ({ partitions: list }) => list)
          assert.deepEqual(
            lists.flat().sort((a, b) => a - b),
            Array.from({ length: partitions }, (_, i) => i),
          )
          const sizes = lists.map(({ length }) => length)
          assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
        }
      },
    ),
  )
})

test('of two who claim a partition the one with the newer generation has it', () => {
  const members = [
    { memberId: 'slept', topic: 't', owned: [0, 1], generation: 3 },
    { memberId: 'woke', topic: 't', owned: [0, 1], generation: 4 },
  ]
  const assigned = assignPartitions(members, 2)
  // One of them has to go; until then the sleeper gets nothing of what the other works on.
  assert.deepEqual(assigned.get('slept'), [])
  assert.equal(assigned.get('woke')!.length, 1)
})
