import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { silentLogger, type Logger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { systemRandom } from '../../../kernel/random.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { systemClock } from '../../../kernel/time.ts'
import { serverAddress } from '../../../test/testing/server-addresses.ts'
import { QuestdbConfigSchema, type QuestdbConfig } from '../questdb-config.ts'
import { QuestdbSeriesStore } from '../questdb-series-store.ts'

export interface QuestdbAddresses {
  httpUrl: string
  pgUrl: string
}

/** The QuestDB of `npm run test:servers`. */
export function sharedQuestdb(): QuestdbAddresses {
  return { httpUrl: serverAddress('questdbHttp'), pgUrl: serverAddress('questdbPg') }
}

/** A prefix that no other test has. */
export function newPrefix(): string {
  return `t${randomBytes(6).toString('hex')}_`
}

const check = compileSchema(QuestdbConfigSchema)

/** The defaults with some settings changed; throws on settings that the schema refuses. */
export function questdbConfig(changes: Partial<QuestdbConfig>): QuestdbConfig {
  const result = check({ ...changes })
  if (result.status === 'invalid') throw new Error(JSON.stringify(result.faults))
  return result.value
}

export function makeQuestdbStore(changes: Partial<QuestdbConfig>, parts: { log?: Logger; metrics?: Metrics } = {}): QuestdbSeriesStore {
  return new QuestdbSeriesStore({
    config: questdbConfig(changes),
    clock: systemClock,
    random: systemRandom,
    log: parts.log ?? silentLogger,
    metrics: parts.metrics ?? new Metrics(),
  })
}

export async function openQuestdbStore(
  changes: Partial<QuestdbConfig>,
  parts: { log?: Logger; metrics?: Metrics } = {},
): Promise<QuestdbSeriesStore> {
  const store = makeQuestdbStore(changes, parts)
  await store.start()
  return store
}

/** Statements of a test itself, beside the store. */
export async function runSql(pgUrl: string, text: string, values: unknown[] = []): Promise<unknown[][]> {
  const client = new pg.Client({ connectionString: pgUrl })
  await client.connect()
  try {
    return (await client.query({ text, values, rowMode: 'array' })).rows as unknown[][]
  } finally {
    await client.end()
  }
}

/** Drops all views and tables of a prefix. */
export async function dropTables(pgUrl: string, prefix: string): Promise<void> {
  const views = await runSql(pgUrl, 'SELECT view_name FROM materialized_views()')
  for (const [name] of views) if (String(name).startsWith(prefix)) await runSql(pgUrl, `DROP MATERIALIZED VIEW IF EXISTS ${String(name)}`)
  const tables = await runSql(pgUrl, 'SELECT table_name FROM tables()')
  for (const [name] of tables) if (String(name).startsWith(prefix)) await runSql(pgUrl, `DROP TABLE IF EXISTS ${String(name)}`)
}
