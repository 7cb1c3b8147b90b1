import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { MongoClient } from 'mongodb'
import { silentLogger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { systemRandom } from '../../../kernel/random.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { systemClock } from '../../../kernel/time.ts'
import { MongodbConfigSchema, type MongodbConfig } from '../mongodb-config.ts'
import { MongodbDocuments } from '../mongodb-documents.ts'
import { documentsConfig } from './lmdb-fixture.ts'

/** The default settings, with some changed. */
export function mongodbConfig(changes: Partial<MongodbConfig> = {}): MongodbConfig {
  const checked = compileSchema(MongodbConfigSchema)({ ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

/** A name that no other test has; the database is gone after the test. */
export function freshDatabase(t: TestContext, url: string): string {
  const database = `test-${randomBytes(8).toString('hex')}`
  t.after(async () => {
    const client = new MongoClient(url)
    await client.db(database).dropDatabase()
    await client.close()
  })
  return database
}

/** A store that is not started. */
export function documentsOn(changes: Partial<MongodbConfig>, metrics = new Metrics()): MongodbDocuments {
  const documents = documentsConfig({ deleteSliceDocuments: 2 })
  return new MongodbDocuments({
    config: mongodbConfig(changes),
    documents,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    metrics,
  })
}

/** A started store on a database of its own; both are gone after the test. */
export async function mongodbDocuments(t: TestContext, changes: Partial<MongodbConfig> & { url: string }): Promise<MongodbDocuments> {
  const documents = documentsOn({ database: freshDatabase(t, changes.url), ...changes })
  await documents.start()
  t.after(() => documents.stop())
  return documents
}
