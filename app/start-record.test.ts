import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openWorld, TENANT } from '../device-registry/audit/testing/audit-world.ts'
import { loadConfig } from './config.ts'
import { changedSettings, recordStart } from './start-record.ts'

const configOf = (env: Record<string, string>) => loadConfig({ env, file: '/nowhere/fleetpulse.config.json' })

test('a start tells the settings that are not the defaults, and no password', () => {
  assert.deepEqual(changedSettings(configOf({})), {})
  const changed = changedSettings(configOf({ FLEETPULSE_API_PORT: '9000', FLEETPULSE_KAFKA_SASL_PASSWORD: 'hunter2hunter2' }))
  assert.deepEqual(changed, { 'api.port': 9_000, 'kafka.saslPassword': '[masked]' })
})

test('a start with other settings than the last one says what they were', async (t) => {
  const world = await openWorld(t)
  const start = (env: Record<string, string>) => recordStart(world.trail, { id: 'p-1', targets: ['registry'], config: configOf(env) })
  await start({})
  await start({})
  await start({ FLEETPULSE_API_PORT: '9000' })
  await recordStart(world.trail, { id: 'p-2', targets: ['edge'], config: configOf({}) })
  const { items } = await world.trail.list({ tenant: TENANT, subject: 'process/p-1', limit: 10 })
  assert.deepEqual(
    items.map(({ before, after }) => [before, after]),
    [
      [
        { targets: ['registry'], settings: {} },
        { targets: ['registry'], settings: { 'api.port': 9_000 } },
      ],
      [undefined, { targets: ['registry'], settings: {} }],
      [undefined, { targets: ['registry'], settings: {} }],
    ],
  )
})
