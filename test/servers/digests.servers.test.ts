import assert from 'node:assert/strict'
import { test } from 'node:test'
import { passGate } from '../../agents/summary/gate.ts'
import { investigate } from '../../agents/summary/investigate.ts'
import { report } from '../../agents/summary/report.ts'
import { silentLogger } from '../../kernel/log.ts'
import { documentsOn, freshDatabase } from '../../storage/documents/testing/mongodb-fixture.ts'
import { dropTables, newPrefix, openQuestdbStore, sharedQuestdb } from '../../storage/series/testing/questdb.ts'
import { tellScenario, type Family } from '../testing/digest-scenarios.ts'
import { DigestWorld, evidenceConfig, type DigestEngines } from '../testing/digest-world.ts'
import { serverAddress } from '../testing/server-addresses.ts'

const config = evidenceConfig()
const FAMILIES: readonly Family[] = [
  'spike',
  'level-shift',
  'drift',
  'silence',
  'power',
  'common-mode',
  'firmware',
  'maintenance',
  'tamper',
  'impersonation',
]

/** Every digest as JSON, by its scenario. */
async function digestsOn(engines?: DigestEngines): Promise<Map<string, string>> {
  const world = await DigestWorld.open(engines)
  try {
    const scenarios = await Promise.all(FAMILIES.map((family) => tellScenario(world, family, 3)))
    await world.settle()
    const digests = new Map<string, string>()
    for (const scenario of scenarios) {
      world.clock.set(scenario.asOf)
      const { sources } = world
      const investigation = await investigate(scenario.incident, sources, world.clock, new AbortController().signal, {
        config,
        log: silentLogger,
      })
      const answer = await passGate(report(investigation), { investigation, sources, author: { kind: 'local' }, config })
      assert.ok(answer.status === 'passed', `${scenario.tenant}: ${JSON.stringify(answer)}`)
      digests.set(scenario.tenant, JSON.stringify(answer.summary))
    }
    return digests
  } finally {
    await world.close()
  }
}

test('a digest over QuestDB and MongoDB is that over the embedded engines, byte for byte', async (t) => {
  const url = serverAddress('mongodb')
  const documents = documentsOn({ url, database: freshDatabase(t, url) })
  await documents.start()
  const addresses = sharedQuestdb()
  const questdb = { ...addresses, tablePrefix: newPrefix(), partitionBy: 'YEAR' as const }
  const series = await openQuestdbStore(questdb)
  const dispose = async (): Promise<void> => {
    await series.stop()
    await dropTables(addresses.pgUrl, questdb.tablePrefix)
    await documents.stop()
  }
  const [there, here] = [await digestsOn({ documents, series, settle: () => series.settle(), dispose }), await digestsOn()]
  assert.equal(there.size, FAMILIES.length)
  for (const [scenario, digest] of here) assert.equal(there.get(scenario), digest, scenario)
})
