import assert from 'node:assert/strict'
import { describe, it, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { VirtualClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { WatchdogConfigSchema, type WatchdogConfig } from './config.ts'
import { Pulse, PULSES_COLLECTION, type PulseDocument } from './pulse.ts'
import { samplesOf } from './samples.ts'
import { settle, type Observation, type WatchedPart } from './watch-state.ts'
import { Watchdog } from './watchdog.ts'

const T0 = 1_700_000_000_000

function config(changes: Partial<WatchdogConfig> = {}): WatchdogConfig {
  const checked = compileSchema(WatchdogConfigSchema)(changes)
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

const bad = (level: Observation['level'] = 'bad'): Observation => ({
  ...{ part: 'p', kind: 'part', level, severity: 'critical', what: 'broken', observed: null, limit: null },
})

test('whatever comes and goes, a trouble is told only after it lasted, and over only after it was well for long: it does not flap', () => {
  const [stepMs, troubleMs, wellMs] = [10_000, 20_000, 60_000]
  fc.assert(
    fc.property(fc.array(fc.constantFrom('bad', 'between', 'well'), { minLength: 1, maxLength: 80 }), (levels) => {
      let parts: WatchedPart[] = []
      let wasTold = false
      let changedAt = -Infinity
      const seen: string[] = []
      for (const [i, level] of levels.entries()) {
        seen.push(level)
        const nowMs = T0 + i * stepMs
        parts = settle(parts, level === 'well' ? [] : [bad(level)], nowMs, { troubleMs, wellMs })
        const isTold = parts.some((each) => each.isTold)
        if (isTold === wasTold) continue
        // Bad at this look and at the two before it; or well at this look and for all of `wellMs` before it.
        if (isTold)
          assert.ok(
            seen.slice(-3).every((each) => each === 'bad'),
            seen.join(),
          )
        else
          assert.ok(
            seen.slice(-wellMs / stepMs).every((each) => each === 'well'),
            seen.join(),
          )
        if (isTold && Number.isFinite(changedAt)) assert.ok(nowMs - changedAt >= troubleMs)
        wasTold = isTold
        changedAt = nowMs
      }
    }),
    { seed: 11, numRuns: 300 },
  )
})

test('samples of one metric are read from the text of many', () => {
  const text = [
    '# HELP m_total x',
    'm_total{topic="a\\"b",group="g,h"} 5',
    'm_total_more{x="1"} 9',
    'm_total 7 1700000000000',
    'm_total{x="y"} NaN',
  ].join('\n')
  assert.deepEqual(samplesOf(text, 'm_total'), [
    { labels: { topic: 'a"b', group: 'g,h' }, value: 5 },
    { labels: {}, value: 7 },
  ])
  assert.deepEqual(samplesOf('', 'm_total'), [])
})

interface World {
  clock: VirtualClock
  documents: Documents
  ends: Map<string, number>
  watchdog(process: string): Promise<Watchdog>
  /** What a process says of itself, once a look. */
  says(process: string, changes?: Partial<PulseDocument>): Promise<void>
  /** Looks again and again for so long, while these processes say this. */
  looks(watchdog: Watchdog, forMs: number, pulses?: Record<string, Partial<PulseDocument>>): Promise<string[]>
}

async function begin(t: TestContext, changes: Partial<WatchdogConfig> = {}): Promise<World> {
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(T0)
  const settings = config(changes)
  const ends = new Map<string, number>([['alerts.dlq', 100]])
  const pulses = await documents.collection<PulseDocument>(PULSES_COLLECTION)
  let count = 0
  const world: World = {
    ...{ clock, documents, ends },
    watchdog: async (processId) => {
      const eventLog = { bounds: async (topic: string) => new Map([[0, { first: 0, next: ends.get(topic) ?? 0 }]]) }
      const watchdog = new Watchdog({ documents, eventLog, clock, config: settings, processId, deadLetterTopics: [...ends.keys()] })
      await watchdog.start()
      t.after(() => watchdog.stop())
      return watchdog
    },
    says: async (process, said = {}) => {
      const empty = { targets: ['edge'], tellsItself: false, notReady: [], lags: [], breakers: [] }
      await pulses.put(process, { process, ...empty, count: ++count, at: clock.nowMs(), ...said })
    },
    looks: async (watchdog, forMs, said = {}) => {
      let told: string[] = []
      for (const untilMs = clock.nowMs() + forMs; clock.nowMs() < untilMs; await clock.advance(settings.lookMs)) {
        for (const [process, each] of Object.entries(said)) await world.says(process, each)
        const troubles = await watchdog.look()
        told = troubles === null ? ['another looks'] : Object.values(troubles).map(({ kind }) => kind)
      }
      return told.toSorted()
    },
  }
  return world
}

describe('the watchdog', () => {
  it('tells each kind of trouble, and that it is over', async (t) => {
    const world = await begin(t)
    const watchdog = await world.watchdog('p-1')
    const well = { a: {}, b: {} }
    assert.deepEqual(await world.looks(watchdog, 60_000, well), [])
    const part = { notReady: [{ part: 'series', what: 'table t is suspended' }] }
    assert.deepEqual(await world.looks(watchdog, 10_000, { a: {}, b: part }), [], 'it was short')
    assert.deepEqual(await world.looks(watchdog, 30_000, { a: {}, b: part }), ['part'])
    assert.deepEqual(await world.looks(watchdog, 110_000, well), ['part'], 'not well for long enough')
    assert.deepEqual(await world.looks(watchdog, 20_000, well), [])
    assert.deepEqual(await world.looks(watchdog, 40_000, { a: {}, b: { ...part, tellsItself: true } }), [], 'it is told there')
    // Two processes have half of it each.
    const lag = (messages: number) => ({ lags: [{ group: 'processing', topic: 'readings', messages }] })
    assert.deepEqual(await world.looks(watchdog, 40_000, { a: lag(60_000), b: lag(60_000) }), ['lag'])
    assert.deepEqual(await world.looks(watchdog, 200_000, { a: lag(60_000), b: lag(20_000) }), ['lag'], 'between its two limits')
    assert.deepEqual(await world.looks(watchdog, 150_000, { a: lag(20_000), b: lag(20_000) }), [])
    const breaker = (state: number) => ({ breakers: [{ provider: 'claude', state }] })
    assert.deepEqual(await world.looks(watchdog, 40_000, { a: breaker(2), b: {} }), ['breaker'])
    assert.deepEqual(await world.looks(watchdog, 150_000, { a: breaker(0), b: {} }), [])
    assert.deepEqual(await world.looks(watchdog, 40_000, { a: { at: world.clock.nowMs() + 300_000 }, b: {} }), ['clock'])
    assert.deepEqual(await world.looks(watchdog, 150_000, well), [])
    assert.deepEqual(await world.looks(watchdog, 120_000, { a: {} }), ['silent'])
    assert.deepEqual(await world.looks(watchdog, 150_000, well), [])
  })

  it('tells dead letters that go on coming, and a training that does not go on', async (t) => {
    const world = await begin(t, { trainingStuckMs: 5 * 60_000, deadLettersMs: 60_000, wellMs: 60_000 })
    const watchdog = await world.watchdog('p-1')
    const models = await world.documents.collection<{ state: string; epoch: number }>({ name: 'models', indexes: [] })
    await models.insert('pump@1', { state: 'training', epoch: 1 })
    assert.deepEqual(await world.looks(watchdog, 60_000), [])
    world.ends.set('alerts.dlq', 104)
    assert.deepEqual(await world.looks(watchdog, 60_000), [], 'a few are no trouble')
    world.ends.set('alerts.dlq', 140)
    assert.deepEqual(await world.looks(watchdog, 60_000), ['dead-letters'])
    await models.update('pump@1', { $set: { epoch: 2 } })
    assert.deepEqual(await world.looks(watchdog, 4 * 60_000), [])
    assert.deepEqual(await world.looks(watchdog, 2 * 60_000), ['training'])
    await models.update('pump@1', { $set: { state: 'shadow' } })
    assert.deepEqual(await world.looks(watchdog, 2 * 60_000), [])
  })

  it('is one of several: another goes on where it was, without telling anything anew', async (t) => {
    const world = await begin(t)
    const [first, second] = [await world.watchdog('p-1'), await world.watchdog('p-2')]
    const part = { a: { notReady: [{ part: 'series', what: 'the disk is full' }] } }
    assert.deepEqual(await world.looks(first, 40_000, part), ['part'])
    assert.deepEqual(await world.looks(second, 10_000, part), ['another looks'])
    assert.deepEqual(await world.looks(first, 20_000, part), ['part'])
    // The first one is gone; within its lease nobody looks.
    assert.deepEqual(await world.looks(second, 20_000, part), ['another looks'])
    assert.deepEqual(await world.looks(second, 20_000, part), ['part'])
    assert.deepEqual(await world.looks(first, 10_000, part), ['another looks'])
  })
})

test('a pulse says what /readyz and /metrics of its process know, and goes when the process stops in order', async (t) => {
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(T0)
  const metrics = new Metrics()
  metrics.gauge('event_log_consumer_lag_messages', 'x', ['topic', 'group']).set({ topic: 'readings', group: 'processing' }, 7)
  metrics.gauge('ai_breaker_state', 'x', ['provider']).set({ provider: 'claude' }, 2)
  const operations = { metricsText: () => metrics.registry.metrics(), notReady: async () => ({ series: 'the disk is full' }) }
  const common = { documents, clock, log: silentLogger, config: config(), operations, tellsItself: false }
  const pulse = new Pulse({ ...common, processId: 'p-1', targets: ['edge'] })
  await pulse.start()
  const pulses = await documents.collection<PulseDocument>(PULSES_COLLECTION)
  await pulse.beat()
  const { _id, version, ...said } = (await pulses.get('p-1')) ?? assert.fail('there is no pulse')
  assert.deepEqual(said, {
    ...{
      process: 'p-1',
      targets: ['edge'],
      tellsItself: false,
      count: 1,
      at: T0,
      notReady: [{ part: 'series', what: 'the disk is full' }],
    },
    lags: [{ group: 'processing', topic: 'readings', messages: 7 }],
    breakers: [{ provider: 'claude', state: 2 }],
  })
  await pulse.stop()
  assert.equal(await pulses.get('p-1'), null)
})
