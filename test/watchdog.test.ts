import { test } from 'node:test'
import { openEngines } from '../alerts/alerts-testing.ts'
import { watchesThePlatform } from './testing/watching-platform.ts'

test('a storm of troubles of the platform is one conversation, which the watchdog opens, explains and lets go', async (t) => {
  const engines = await openEngines(1)
  t.after(() => engines.dispose())
  await watchesThePlatform(engines)
})
