import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReadReceipts, RECEIPT_GAP_MS, RECEIPT_RETRY_MAX_MS } from '../dashboard/web/src/conversations/read-receipts.ts'
import { VirtualClock } from '../kernel/time.ts'

/** The page's receipts with a platform that answers when told to. */
class World {
  readonly clock = new VirtualClock()
  readonly seqs: number[] = []
  isSeen = true
  #answer: ((error?: Error) => void) | undefined
  readonly receipts = new ReadReceipts({
    say: (seq) => {
      assert.equal(this.#answer, undefined, 'one request at a time')
      this.seqs.push(seq)
      return new Promise<void>((resolve, reject) => (this.#answer = (error) => (error === undefined ? resolve() : reject(error))))
    },
    isRefusal: (error) => error instanceof RangeError,
    isSeen: () => this.isSeen,
    after: (delayMs, run) => this.clock.after(delayMs, run),
  })

  async answer(error?: Error): Promise<void> {
    const answer = this.#answer
    assert.ok(answer !== undefined, 'somebody asked')
    this.#answer = undefined
    answer(error)
    await new Promise(setImmediate)
  }
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
  }
}

test('what comes while one is under way, or soon after, is one receipt for the latest', async () => {
  const world = new World()
  const { receipts } = world
  for (const seq of [3, 4, 9, 7]) receipts.upTo(seq)
  assert.deepEqual(world.seqs, [3])
  await world.pass(RECEIPT_GAP_MS * 5)
  assert.deepEqual(world.seqs, [3], 'the first is not answered yet')
  await world.answer()
  receipts.upTo(11)
  await world.pass(RECEIPT_GAP_MS - 1)
  assert.deepEqual(world.seqs, [3])
  await world.pass(1)
  assert.deepEqual(world.seqs, [3, 11])
  await world.answer()
  await world.pass(RECEIPT_RETRY_MAX_MS)
  receipts.upTo(11)
  assert.deepEqual(world.seqs, [3, 11], 'said once')
})

test('nothing is read while nobody sees the page', async () => {
  const world = new World()
  const { receipts } = world
  world.isSeen = false
  receipts.upTo(2)
  receipts.look()
  await world.pass(RECEIPT_RETRY_MAX_MS)
  assert.deepEqual(world.seqs, [])
  world.isSeen = true
  receipts.look()
  assert.deepEqual(world.seqs, [2])
  await world.answer()
  receipts.upTo(3)
  world.isSeen = false
  await world.pass(RECEIPT_RETRY_MAX_MS)
  assert.deepEqual(world.seqs, [2])
  world.isSeen = true
  receipts.look()
  assert.deepEqual(world.seqs, [2, 3])
})

test('a failure is repeated ever later, and a success forgets it; a refusal is the end', async () => {
  const world = new World()
  const { receipts } = world
  receipts.upTo(1)
  for (const waitMs of [2_000, 4_000, 8_000, 16_000, 32_000, RECEIPT_RETRY_MAX_MS, RECEIPT_RETRY_MAX_MS]) {
    const before = world.seqs.length
    await world.answer(new Error('503'))
    await world.pass(waitMs - 1)
    assert.equal(world.seqs.length, before, `${waitMs} ms are not over`)
    await world.pass(1)
    assert.equal(world.seqs.length, before + 1, `${waitMs} ms are over`)
  }
  await world.answer()
  receipts.upTo(2)
  await world.pass(RECEIPT_GAP_MS)
  assert.equal(world.seqs.at(-1), 2, 'the usual gap again')
  await world.answer(new RangeError('403'))
  receipts.upTo(3)
  receipts.look()
  await world.pass(RECEIPT_RETRY_MAX_MS)
  assert.equal(world.seqs.at(-1), 2)
})

test('after a stop nothing is said, not even what was due', async () => {
  const world = new World()
  const { receipts } = world
  receipts.upTo(1)
  await world.answer()
  receipts.upTo(2)
  receipts.stop()
  await world.pass(RECEIPT_RETRY_MAX_MS)
  receipts.upTo(3)
  assert.deepEqual(world.seqs, [1])

  const other = new World()
  other.receipts.upTo(1)
  other.receipts.upTo(2)
  other.receipts.stop()
  await other.answer(new Error('unreachable'))
  await other.pass(RECEIPT_RETRY_MAX_MS)
  assert.deepEqual(other.seqs, [1])
})
