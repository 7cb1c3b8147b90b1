import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EnvironmentError } from '../kernel/errors.ts'
import { silentLogger } from '../kernel/log.ts'
import { VirtualClock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { lmdbDocuments } from '../storage/documents/testing/lmdb-fixture.ts'
import { DeviceStates } from './device-states.ts'
import { LedgerPublisher, type LedgerEntry, type LedgerSummary } from './ledger-publisher.ts'

const RECEIVED_AT = 1_763_680_000_000

test('what a failed write did not say is said by the next one', async (t) => {
  const real = await lmdbDocuments(t)
  let failing = false
  const documents: Documents = {
    ...{ name: real.name, start: () => real.start(), stop: () => real.stop() },
    collection: async (spec) => {
      const inner = await real.collection<never>(spec)
      return new Proxy(inner, {
        get: (target, property) => {
          const value = Reflect.get(target, property) as unknown
          if (typeof value !== 'function') return value
          if (property !== 'put') return value.bind(target) as unknown
          return async (...args: unknown[]): Promise<unknown> => {
            if (failing) throw new EnvironmentError('STORE_UNUSABLE', 'on purpose')
            return Reflect.apply(value, target, args) as unknown
          }
        },
      })
    },
  }
  const states = new DeviceStates({ documents, operators: [], log: silentLogger, bounds: { bootsPerDeviceMax: 8, sequenceRangesMax: 8, devicesInMemoryMax: 8 } })
  await states.start()
  const ledger = new LedgerPublisher({ documents, states, clock: new VirtualClock(), log: silentLogger, flushMs: 200 })
  await ledger.start()
  const state = await states.load('default', 'd', 'generic', 0)
  for (const field of ['received', 'stored'] as const) ledger.count(state, RECEIVED_AT, field)
  failing = true
  await assert.rejects(ledger.flush(), { code: 'STORE_UNUSABLE' })
  failing = false
  ledger.settled([{ tenant: 'default', partition: 0 }])
  await ledger.flush()
  const entries = await (await real.collection<LedgerEntry>({ name: 'ledger', indexes: [] })).find({})
  assert.deepEqual(entries.map(({ device, received, stored }) => [device, received, stored]), [['d', 1, 1]])
  const summary = await (await real.collection<LedgerSummary>({ name: 'ledger-summary', indexes: [] })).get('default/0')
  assert.deepEqual([summary?.received, summary?.stored], [1, 1])
  await ledger.stop()
})
