import { join } from 'node:path'
import type { Documents } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import type { SeriesStore } from '../storage/series/series-store.ts'
import type { Config } from './config-sections.ts'
import type { BuildContext } from './module.ts'
import { sealing } from './sealing.ts'

/** What an engine is built with. */
export type EngineContext = Pick<BuildContext, 'dataDirectory' | 'clock' | 'random' | 'log' | 'metrics'>

/* Only the engine that is configured is loaded: each brings a client or a native library, and a start should not wait for the others. */

/** The event log as configured; not started. */
export async function openEventLog(config: Config, context: EngineContext): Promise<EventLog> {
  const { topicPrefix, eventLogEngine } = config.platform
  if (eventLogEngine === 'kafka') {
    const { KafkaEventLog } = await import('../storage/event-log/kafka-event-log.ts')
    return new KafkaEventLog({ ...context, config: config.kafka, topicPrefix })
  }
  const { LmdbEventLog } = await import('../storage/event-log/lmdb-event-log.ts')
  return new LmdbEventLog({ ...context, directory: join(context.dataDirectory, 'log'), config: config.eventLog, topicPrefix })
}

/** The time-series store as configured; not started. */
export async function openSeries(config: Config, context: EngineContext): Promise<SeriesStore> {
  if (config.platform.seriesEngine === 'questdb') {
    const { QuestdbSeriesStore } = await import('../storage/series/questdb-series-store.ts')
    return new QuestdbSeriesStore({ ...context, config: config.questdb })
  }
  const { DuckdbSeriesStore } = await import('../storage/series/duckdb-series-store.ts')
  return new DuckdbSeriesStore({ ...context, directory: join(context.dataDirectory, 'series'), config: config.series })
}

/** The documents as configured, what is confidential sealed; not started. */
export async function openDocuments(config: Config, context: EngineContext): Promise<Documents> {
  return sealing(await openDocumentsAsTheyLie(config, context), config, context)
}

/** The same as the engine holds them, to be moved elsewhere; not started. */
export async function openDocumentsAsTheyLie(config: Config, context: EngineContext): Promise<Documents> {
  if (config.platform.documentsEngine === 'mongodb') {
    const { MongodbDocuments } = await import('../storage/documents/mongodb-documents.ts')
    return new MongodbDocuments({ ...context, config: config.mongodb, documents: config.documents })
  }
  const { LmdbDocuments } = await import('../storage/documents/lmdb-documents.ts')
  return new LmdbDocuments({ ...context, directory: join(context.dataDirectory, 'documents'), config: config.documents })
}
