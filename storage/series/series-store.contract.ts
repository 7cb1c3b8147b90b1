import { afterEach, beforeEach, describe } from 'node:test'
import type { CreateSeriesEngine, SeriesEngine } from './testing/contract-engine.ts'
import { propertyContract } from './series-properties.contract.ts'
import { readingContract } from './series-reading.contract.ts'
import { writingContract } from './series-writing.contract.ts'

/** What every series store does, whatever its engine; each case gets an empty store from `create`. */
export function seriesStoreContract(engineName: string, create: CreateSeriesEngine): void {
  describe(`series store on ${engineName}`, () => {
    let engine: SeriesEngine | undefined
    const current = (): SeriesEngine => {
      if (engine === undefined) throw new Error('no engine was made')
      return engine
    }
    beforeEach(async () => {
      engine = await create()
    })
    afterEach(async () => {
      await engine?.dispose()
      engine = undefined
    })
    writingContract(current)
    readingContract(current)
    propertyContract(current)
  })
}
