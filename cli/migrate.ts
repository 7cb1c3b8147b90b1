import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { CONFIG_FILE, loadConfig } from '../app/config.ts'
import type { Config } from '../app/config-sections.ts'
import { DataFolder } from '../app/data-folder.ts'
import { clusterConfig, clusterEngines, embeddedEngines } from '../app/migrate/engines.ts'
import { migrate, type MoveReport } from '../app/migrate/migrate.ts'
import type { OnProgress } from '../app/migrate/mover.ts'
import { topicSpecs } from '../app/topics.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import { createLogger } from '../kernel/log.ts'
import { systemRandom } from '../kernel/random.ts'
import { Lifecycle } from '../kernel/service.ts'
import { systemClock } from '../kernel/time.ts'
import { EXIT } from './failure.ts'
import { progressBar } from './progress.ts'

interface MigrateCommandOptions {
  data?: string
  config?: string
  json?: boolean
}

const HELP = `
Moves registry, certificates, types, sessions, ledger, device states, models, anomalies, alerts, webhooks and all readings into the MongoDB and
QuestDB that the configuration names (sections mongodb and questdb). The embedded data stay as they are.

Before:  connect no more devices, let the embedded platform read its log to the end, stop it; MongoDB's database and QuestDB's tables are empty.
After:   start the cluster. The target registry is started with the same --data folder: it holds the keys of the certificate authority
         (pki) and the admin token, which are never put into a database.
The event log is not moved: the new one begins empty, and what was read from the old one stays known. Versions of documents begin at 1.
A move that was cut short goes on where it was when it is started again; nothing is doubled.

Exit code 1 when the counts of both sides do not agree.
Examples:
  FLEETPULSE_MONGODB_URL=mongodb://db:27017 FLEETPULSE_QUESTDB_HTTP_URL=http://series:9000 FLEETPULSE_QUESTDB_PG_URL=postgres://series:8812/qdb \\
    fleetpulse migrate --from embedded --to cluster --data ./data
  fleetpulse migrate --from embedded --to cluster --config cluster.json --json
`

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('Move everything from the embedded engines to MongoDB and QuestDB')
    .addOption(new Option('--from <engines>', 'what to move from').choices(['embedded']).makeOptionMandatory())
    .addOption(new Option('--to <engines>', 'what to move to').choices(['cluster']).makeOptionMandatory())
    .option('--data <dir>', 'data folder of the stopped platform (default: FLEETPULSE_DATA or ./data)')
    .option('--config <file>', `configuration file (default ${CONFIG_FILE} when it exists)`)
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', HELP)
    .action(run)
}

async function run(options: MigrateCommandOptions): Promise<void> {
  const env = options.data === undefined ? process.env : { ...process.env, FLEETPULSE_DATA: options.data }
  const config = loadConfig({ env, file: options.config ?? CONFIG_FILE, fileRequired: options.config !== undefined })
  const folder = new DataFolder(config.platform.dataDirectory)
  if (!existsSync(join(folder.path, 'documents'))) {
    throw new InvalidInputError(`${folder.path} holds no embedded data`, { remedy: 'Name the data folder of the platform with --data.' })
  }
  await folder.open()
  const bar = progressBar(options.json !== true)
  try {
    const report = await move(config, folder, (what, done, total) => bar.update(what, done, total))
    bar.stop()
    process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : shown(report))
    if (!report.agrees) process.exitCode = EXIT.failed
  } finally {
    bar.stop()
    folder.close()
  }
}

async function move(config: Config, folder: DataFolder, onProgress: OnProgress): Promise<MoveReport> {
  const log = createLogger({ level: 'warn', name: 'migrate' })
  const context = { dataDirectory: folder.path, clock: systemClock, random: systemRandom, log }
  const [source, target] = await Promise.all([embeddedEngines(config, context), clusterEngines(config, context)])
  const lifecycle = new Lifecycle({ log, clock: systemClock, stopTimeoutMs: config.platform.stopTimeoutMs })
  try {
    for (const service of [target.documents, target.series, source.documents, source.series, source.eventLog])
      await lifecycle.start(service)
    const partitions = Math.max(...topicSpecs(clusterConfig(config)).map((topic) => topic.partitions))
    return await migrate({ source: { ...source, id: await folder.processId() }, target, partitions, clock: systemClock, onProgress })
  } finally {
    await lifecycle.stopAll()
  }
}

function shown(report: MoveReport): string {
  const width = Math.max(...report.counts.map(({ what }) => what.length), 0)
  const lines = report.counts.map(({ what, source, left, target, agrees }) => {
    const stays = left > 0 ? ` (${left} stay behind)` : ''
    return `${agrees ? '✓' : '✗'} ${what.padEnd(width)} ${String(source).padStart(12)} → ${target}${stays}`
  })
  const at = new Date(report.finishedAt).toISOString()
  const end =
    report.status === 'again'
      ? `This data folder was moved at ${at}; nothing was done now.`
      : report.agrees
        ? 'Everything was moved. Start the cluster; its registry with this data folder.'
        : 'The counts do not agree: the cluster was written meanwhile, or rows were refused. Nothing is lost in the data folder.'
  return `${[...lines, '', end].join('\n')}\n`
}
