import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { StoreError } from '../../kernel/errors.ts'
import { message, openTemporaryLog, topicSpec } from './temporary-log.ts'

/** Run with a low limit on file size: fills the log, sees it refuse, lifts the limit, appends again, and stops while full. Ends with status 0 when all was right. */
const { log, close } = await openTemporaryLog({ directory: process.argv[2]! })
await log.ensureTopics([topicSpec('full', 2)])

const isFull = (error: unknown): boolean => error instanceof StoreError && error.code === 'STORE_FULL' && error.retryable

let durable = await fill()
assert.ok(durable > 100, `only ${durable} messages fitted`)
await assertHolds(durable)

// Several turns at once while full: each is answered.
const many = await Promise.allSettled(Array.from({ length: 5 }, () => append(5_000)))
assert.ok(many.every((outcome) => outcome.status === 'fulfilled' || isFull(outcome.reason)))
durable += many.filter((outcome) => outcome.status === 'fulfilled').length
await assertHolds(durable)

// Removing needs some pages itself; without any it says so, and it works when there is space.
await log
  .ensureTopics([{ ...topicSpec('full', 2), retentionBytes: 500_000 }])
  .catch((error: unknown) => assert.ok(isFull(error), String(error)))
await log.retain().catch((error: unknown) => assert.ok(isFull(error), String(error)))

// A larger disk makes room.
execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=unlimited'])
await log.ensureTopics([{ ...topicSpec('full', 2), retentionBytes: 500_000 }])
await log.retain()
const first = [...(await log.bounds('full')).values()].reduce((sum, bounds) => sum + bounds.first, 0)
assert.ok(first > 100, `${first} messages were removed`)
await log.ensureTopics([topicSpec('full', 2)])
for (let i = 0; i < 50; i++, durable++) await append(60_000)
assert.equal(await total(), durable)
durable += await refuseWhileStopping()
assert.equal(await total(), durable)
await close()
process.stdout.write('all was right\n')

/** Appends until the disk is full; answers how many messages became durable. */
async function fill(): Promise<number> {
  for (let count = 0; ; count++) {
    try {
      await append(20_000)
    } catch (error) {
      assert.ok(isFull(error), String(error))
      return count
    }
  }
}

async function append(bytes: number): Promise<void> {
  await log.append('full', [message(`key-${bytes}`, 'x'.repeat(bytes))])
}

async function assertHolds(messages: number): Promise<void> {
  assert.equal(await total(), messages)
  for (const [partition, { first, next }] of await log.bounds('full')) {
    assert.equal((await log.read('full', partition, first, 100_000)).length, next - first)
  }
}

async function total(): Promise<number> {
  return [...(await log.bounds('full')).values()].reduce((sum, { next }) => sum + next, 0)
}

/** The log must also stop while the disk is full. */
async function refuseWhileStopping(): Promise<number> {
  execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=1048576:unlimited'])
  let written = 0
  for (;;) {
    try {
      await append(60_000)
      written++
    } catch (error) {
      assert.ok(isFull(error), String(error))
      return written
    }
  }
}
