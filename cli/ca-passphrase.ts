import { Command } from 'commander'
import { CONFIG_FILE, loadConfig } from '../app/config.ts'
import { DataFolder } from '../app/data-folder.ts'
import { createLogger } from '../kernel/log.ts'
import { changePassphrase } from '../provisioning/ca/change-passphrase.ts'

interface PassphraseOptions {
  data?: string
  config?: string
  json?: boolean
}

const HELP = `
The platform must be stopped. What opens the keys now comes from FLEETPULSE_CA_OLD_PASSPHRASE, else from ca-passphrase in the data folder; what
shall open them from then on from FLEETPULSE_CA_PASSPHRASE or FLEETPULSE_CA_PASSPHRASE_FILE, else from ca-passphrase in the data folder.
Begun and cut short, it can be run again.

Examples:
  FLEETPULSE_CA_PASSPHRASE=… fleetpulse ca passphrase --data ./data
  FLEETPULSE_CA_OLD_PASSPHRASE=… FLEETPULSE_CA_PASSPHRASE=… fleetpulse ca passphrase
`

export function caPassphraseCommand(): Command {
  return new Command('passphrase')
    .description('Encrypt the CA keys of a stopped platform anew, with the passphrase that is configured now')
    .option('--data <dir>', 'data folder of the stopped platform (default: FLEETPULSE_DATA or ./data)')
    .option('--config <file>', `configuration file (default ${CONFIG_FILE} when it exists)`)
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', HELP)
    .action(run)
}

async function run(options: PassphraseOptions): Promise<void> {
  const env = options.data === undefined ? process.env : { ...process.env, FLEETPULSE_DATA: options.data }
  const config = loadConfig({ env, file: options.config ?? CONFIG_FILE, fileRequired: options.config !== undefined })
  const folder = new DataFolder(config.platform.dataDirectory)
  await folder.open()
  try {
    const keys = await changePassphrase({
      dataDir: folder.path,
      config: config.provisioning,
      oldPassphrase: process.env.FLEETPULSE_CA_OLD_PASSPHRASE ?? '',
      log: createLogger({ level: 'warn', name: 'ca' }),
    })
    process.stdout.write(
      options.json === true ? `${JSON.stringify({ keys })}\n` : `${keys.length} keys encrypted anew: ${keys.join(', ')}\n`,
    )
  } finally {
    folder.close()
  }
}
