import { join } from 'node:path'
import { Metrics } from '../../kernel/metrics.ts'
import type { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { DuckdbSeriesStore } from '../../storage/series/duckdb-series-store.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import type { Config } from '../config-sections.ts'
import { openDocumentsAsTheyLie, openEventLog, openSeries, type EngineContext } from '../engines.ts'

/** Metrics have one owner each, and here are two of every engine. */
type MoveContext = Omit<EngineContext, 'metrics'>

/** The engines of an embedded platform, with what it takes to read them out; not started. */
export async function embeddedEngines(
  config: Config,
  context: MoveContext,
): Promise<{ documents: LmdbDocuments; series: DuckdbSeriesStore; eventLog: EventLog }> {
  const [{ LmdbDocuments }, { DuckdbSeriesStore }] = await Promise.all([
    import('../../storage/documents/lmdb-documents.ts'),
    import('../../storage/series/duckdb-series-store.ts'),
  ])
  const metrics = new Metrics()
  const folder = (name: string): string => join(context.dataDirectory, name)
  const platform = { ...config.platform, eventLogEngine: 'lmdb' as const }
  return {
    documents: new LmdbDocuments({ ...context, metrics, directory: folder('documents'), config: config.documents }),
    series: new DuckdbSeriesStore({ ...context, metrics, directory: folder('series'), config: config.series }),
    eventLog: await openEventLog({ ...config, platform }, { ...context, metrics }),
  }
}

/** The configuration with the cluster's engines, whatever it says itself. */
export function clusterConfig(config: Config): Config {
  return { ...config, platform: { ...config.platform, eventLogEngine: 'kafka', seriesEngine: 'questdb', documentsEngine: 'mongodb' } }
}

/** The cluster's documents and series; not started. */
export async function clusterEngines(config: Config, context: MoveContext): Promise<{ documents: Documents; series: SeriesStore }> {
  const cluster = clusterConfig(config)
  const metrics = new Metrics()
  return {
    documents: await openDocumentsAsTheyLie(cluster, { ...context, metrics }),
    series: await openSeries(cluster, { ...context, metrics }),
  }
}
