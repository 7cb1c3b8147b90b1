import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../kernel/random.ts'
import { runStorm } from './testing/storm.ts'

const SEED = Number(process.env.TEST_SEED ?? 7)

test(
  'a storm loses nothing through kill -9 of worker and receiver, and everything delivered has its id',
  { timeout: 300_000 },
  async () => {
    const random = seededRandom(SEED)
    const outcome = await runStorm({ alerts: 300, perSecond: 500, workerKills: 3, receiverKills: 2, random, timeoutMs: 250_000 })
    const { lost, doubled, withoutId, ambiguousIds, incidents } = outcome
    assert.deepEqual({ lost, doubled, withoutId, ambiguousIds }, { lost: 0, doubled: 0, withoutId: 0, ambiguousIds: 0 }, `seed ${SEED}`)
    assert.ok(incidents <= 5, `${incidents} incidents`)
  },
)
