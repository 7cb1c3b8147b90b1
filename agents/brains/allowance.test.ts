import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics } from '../../kernel/metrics.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { Allowances } from './allowance.ts'
import { BrainMetrics } from './brain-metrics.ts'

const LIMITS = { requestsPerMinute: 1_000, tokensPerMinute: 100_000, tokensPerDay: 10_000, tokensPerDayPerSite: 3_000, casAttemptsMax: 50 }
const NOON = 20_000 * 86_400_000 + 43_200_000

test('a site has its part of the day, of all processes together; what was not used is its again, and tomorrow all of it', async (t) => {
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(NOON)
  const [one, two] = [new Allowances({ documents, clock, limits: LIMITS }), new Allowances({ documents, clock, limits: LIMITS })]
  const north = { tenant: 'default', site: 'north' }
  const south = { tenant: 'default', site: 'south' }
  const first = await one.reserve('claude', 2_000, north)
  assert.equal(first.status, 'reserved')
  const refused = await two.reserve('claude', 2_000, north)
  assert.deepEqual(refused, { status: 'budget-exhausted', retryAfterMs: 43_200_000 })
  assert.equal(await two.leftOfSite('claude', north), 0 + LIMITS.tokensPerDayPerSite - 2_000)
  assert.equal((await two.reserve('claude', 2_000, south)).status, 'reserved', 'another site has its own')
  assert.equal((await two.reserve('claude', 2_000, { tenant: 'other', site: 'north' })).status, 'reserved', 'so has another tenant')
  assert.equal((await two.reserve('grok', 2_000, north)).status, 'reserved', 'and another provider')
  if (first.status === 'reserved') await one.settle('claude', first, 500, north)
  assert.equal(await one.leftOfSite('claude', north), 2_500)
  assert.equal((await two.reserve('claude', 2_000, north)).status, 'reserved')
  await clock.advance(86_400_000)
  assert.equal(await one.leftOfSite('claude', north), 3_000)
})

test('what the provider has not is not taken from the site, and two processes at once take no more than there is', async (t) => {
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(NOON)
  const limits = { ...LIMITS, tokensPerDay: 2_500 }
  const processes = Array.from({ length: 4 }, () => new Allowances({ documents, clock, limits }))
  const north = { tenant: 'default', site: 'north' }
  const answers = await Promise.all(processes.map((each) => each.reserve('claude', 1_000, north)))
  assert.equal(answers.filter(({ status }) => status === 'reserved').length, 2)
  const [first] = processes
  assert.equal(await first?.leftOfSite('claude', north), 1_000)
  assert.equal(await first?.left('claude'), 500)
})

test('sites in metrics are bounded, whatever operators call them', async () => {
  const metrics = new Metrics()
  const measured = new BrainMetrics(metrics)
  for (let i = 0; i < 500; i++) measured.siteBudget('claude', `site-${i}`, i)
  const { values } = (await metrics.registry.getSingleMetric('fleetpulse_ai_site_budget_tokens_remaining')?.get()) ?? { values: [] }
  assert.equal(values.length, 101)
})
