import { seriesStoreContract } from './series-store.contract.ts'
import { dropTables, newPrefix, openQuestdbStore, sharedQuestdb } from './testing/questdb.ts'

seriesStoreContract('QuestDB', async () => {
  const addresses = sharedQuestdb()
  // The instants of a property test fall into any day of a century.
  const config = { ...addresses, tablePrefix: newPrefix(), partitionBy: 'YEAR' as const }
  const engine = {
    store: await openQuestdbStore(config),
    settle: () => engine.store.settle(),
    reopen: async () => {
      await engine.store.stop()
      engine.store = await openQuestdbStore(config)
    },
    dispose: async () => {
      await engine.store.stop()
      await dropTables(addresses.pgUrl, config.tablePrefix)
    },
  }
  return engine
})
