import { silentLogger, type Logger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { systemClock, type Clock } from '../../../kernel/time.ts'
import { SeriesConfigSchema, type SeriesConfig } from '../config.ts'
import { DuckdbSeriesStore } from '../duckdb-series-store.ts'

const check = compileSchema(SeriesConfigSchema)

/** The defaults with some settings changed; throws on settings that the schema refuses. */
export function seriesConfig(changes: Partial<SeriesConfig> = {}): SeriesConfig {
  const result = check({ ...changes })
  if (result.status === 'invalid') throw new Error(JSON.stringify(result.faults))
  return result.value
}

export interface TestStoreOptions {
  config?: Partial<SeriesConfig>
  clock?: Clock
  log?: Logger
  metrics?: Metrics
}

/** A store over a folder, not started. */
export function makeStore(directory: string, options: TestStoreOptions = {}): DuckdbSeriesStore {
  return new DuckdbSeriesStore({
    directory,
    config: seriesConfig(options.config),
    clock: options.clock ?? systemClock,
    log: options.log ?? silentLogger,
    metrics: options.metrics ?? new Metrics(),
  })
}

export async function openStore(directory: string, options: TestStoreOptions = {}): Promise<DuckdbSeriesStore> {
  const store = makeStore(directory, options)
  await store.start()
  return store
}
