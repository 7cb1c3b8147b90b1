import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ROOT } from '../../test/testing/repository.ts'
import { LocalServers } from './local-servers.ts'

/* npm run servers: Kafka, QuestDB and a MongoDB stand-in on this machine until Ctrl-C. */

const HELP = `Usage: npm run servers [-- OPTIONS]

Starts Apache Kafka, QuestDB and a server of MongoDB's protocol from Maven Central (JDK 17 and Maven), waits until each
answers, prints their addresses and stops them on Ctrl-C. State and logs stay in one folder.

Options:
  --folder DIR          state and logs (default .cache/servers/state)
  --kafka PORT          default 9092; 0 = any free one, also below
  --questdb-http PORT   default 9000
  --questdb-pg PORT     default 8812
  --mongodb PORT        default 27017
  --json                addresses as one line of JSON
  --help

Example:
  npm run servers
  npm run servers -- --kafka 0 --questdb-http 0 --questdb-pg 0 --mongodb 0 --json
`

const { values } = parseArgs({
  options: {
    folder: { type: 'string', default: join(ROOT, '.cache', 'servers', 'state') },
    kafka: { type: 'string', default: '9092' },
    'questdb-http': { type: 'string', default: '9000' },
    'questdb-pg': { type: 'string', default: '8812' },
    mongodb: { type: 'string', default: '27017' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  mkdirSync(values.folder, { recursive: true })
  const servers = new LocalServers(values.folder, {
    kafka: Number(values.kafka),
    questdbHttp: Number(values['questdb-http']),
    questdbPg: Number(values['questdb-pg']),
    mongodb: Number(values.mongodb),
  })
  let stopping: Promise<void> | undefined
  const stop = (): void => {
    stopping ??= servers.stop()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  process.stderr.write('starting kafka, questdb and the mongodb stand-in …\n')
  try {
    await servers.start()
  } catch (error) {
    stop()
    await stopping
    throw error
  }
  const { kafka, questdb, mongodb } = servers
  const environment = {
    FLEETPULSE_EVENT_LOG_ENGINE: 'kafka',
    FLEETPULSE_KAFKA_BROKERS: kafka.address,
    FLEETPULSE_SERIES_ENGINE: 'questdb',
    FLEETPULSE_QUESTDB_HTTP_URL: questdb.address,
    FLEETPULSE_QUESTDB_PG_URL: questdb.pgAddress,
    FLEETPULSE_DOCUMENTS_ENGINE: 'mongodb',
    FLEETPULSE_MONGODB_URL: mongodb.address,
  }
  if (values.json)
    process.stdout.write(
      `${JSON.stringify({ kafka: kafka.address, questdb: questdb.address, questdbPg: questdb.pgAddress, mongodb: mongodb.address, environment, folder: values.folder })}\n`,
    )
  else {
    const lines = Object.entries(environment).map(([name, value]) => `export ${name}=${value}`)
    process.stdout.write(`${lines.join('\n')}\n\nAll three answer. State and logs: ${values.folder}. Ctrl-C stops them.\n`)
  }
}

if (values.help) process.stdout.write(HELP)
else
  await main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  })
