import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStore } from './testing/store.ts'
import { seriesStoreContract } from './series-store.contract.ts'

seriesStoreContract('DuckDB', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-series-'))
  const engine = {
    store: await openStore(directory),
    settle: () => Promise.resolve(),
    reopen: async () => {
      await engine.store.stop()
      engine.store = await openStore(directory)
    },
    dispose: async () => {
      await engine.store.stop()
      await rm(directory, { recursive: true })
    },
  }
  return engine
})
