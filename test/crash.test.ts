import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crashRounds } from './testing/crash-rounds.ts'

test('kill -9 under load: nothing acknowledged is lost, nothing is there twice, the order holds', async () => {
  const seed = Number(process.env.TEST_SEED ?? Math.floor(performance.timeOrigin) % 100_000)
  const report = await crashRounds({ rounds: 2, seed, devices: 8, ratePerS: 400 })
  const { lost, duplicated, outOfOrder, sent, acked, ledger } = report
  const context = `TEST_SEED=${seed} ${JSON.stringify(report)}`
  assert.equal(lost, 0, context)
  assert.equal(duplicated, 0, context)
  assert.equal(outOfOrder, 0, context)
  assert.equal(acked, sent, context)
  assert.equal(ledger.missing, 0, context)
  assert.equal(ledger.received, (ledger.stored ?? 0) + (ledger.duplicate ?? 0) + (ledger.rejected ?? 0), context)
})
