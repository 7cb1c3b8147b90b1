import { join } from 'node:path'
import type { Static, TSchema } from 'typebox'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock } from '../../kernel/time.ts'
import { DocumentsConfigSchema } from '../../storage/documents/config.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import { EventLogConfigSchema } from '../../storage/event-log/config.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { LmdbEventLog } from '../../storage/event-log/lmdb-event-log.ts'

const RECORDS_MAX = 1_000

export interface Stores {
  documents: Documents
  eventLog: EventLog
  /** All records of a topic. */
  records(topic: string): Promise<LogRecord[]>
  close(): Promise<void>
}

/** The embedded engines below a folder. */
export async function openStores(folder: string): Promise<Stores> {
  const common = { log: silentLogger, metrics: new Metrics(), clock: systemClock }
  const documents = new LmdbDocuments({ ...common, directory: join(folder, 'documents'), config: defaultsOf(DocumentsConfigSchema) })
  const eventLog = new LmdbEventLog({
    ...common,
    directory: join(folder, 'log'),
    config: defaultsOf(EventLogConfigSchema),
    topicPrefix: 'test.',
  })
  await documents.start()
  await eventLog.start()
  await eventLog.ensureTopics(
    [TOPICS.deviceEvents, TOPICS.commands].map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })),
  )
  return {
    documents,
    eventLog,
    records: (topic) => eventLog.read(topic, 0, 0, RECORDS_MAX),
    close: async () => {
      await eventLog.stop()
      await documents.stop()
    },
  }
}

function defaultsOf<S extends TSchema>(schema: S): Static<S> {
  const checked = compileSchema(schema)({})
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}
