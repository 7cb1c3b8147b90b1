import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { EnvironmentError, InvalidInputError } from '../kernel/errors.ts'
import { systemClock } from '../kernel/time.ts'
import { readDeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { parseSeries } from '../simulators/recorded-series.ts'
import { replaySeries } from '../simulators/replay.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { wholeNumber } from './options.ts'
import { progressBar } from './progress.ts'

interface ReplayOptions extends PlatformOptions {
  device: string
  certDir: string
  metric?: string
  speed: number
  host: string
  port?: number
  json?: boolean
}

export function replayCommand(): Command {
  return new Command('replay')
    .description('Publish a recorded series over mTLS MQTT, with its own event times')
    .argument('<file>', 'CSV file: timestamp,value or timestamp,metric1,metric2,…')
    .requiredOption('--device <id>', 'device that publishes')
    .requiredOption('--cert-dir <dir>', 'folder with its key.pem, cert.pem and ca.pem')
    .option('--metric <name>', 'name of the metric of a file with one value column (default: the column\'s name)')
    .addOption(new Option('--speed <speed>', '"max", or how many times faster than recorded').argParser(speed).default(Infinity, 'max'))
    .option('--host <host>', 'broker host', 'localhost')
    .option('--port <port>', 'broker port (default: where the platform of the data folder listens, or 8883)', wholeNumber(1, 65_535))
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse provision device pump-1 --out pump-1\n  fleetpulse replay recording.csv --device pump-1 --cert-dir pump-1 --speed max\n')
    .action(replay)
}

async function replay(file: string, options: ReplayOptions): Promise<void> {
  const bundle = await readDeviceBundle(options.certDir)
  if (bundle === undefined) throw new InvalidInputError(`${options.certDir} does not hold key.pem, cert.pem and ca.pem`, { remedy: `Get them with: fleetpulse provision device ${options.device} --out ${options.certDir}` })
  const rows = parseSeries(readText(file), file, options.metric)
  const port = options.port ?? brokerPort(options)
  const bar = progressBar(options.json !== true)
  try {
    const result = await replaySeries({ rows, device: options.device, bundle, host: options.host, port, speed: options.speed, clock: systemClock, onProgress: (done) => bar.update(file, done, rows.length) })
    bar.stop()
    process.stdout.write(options.json === true ? `${JSON.stringify({ file, device: options.device, ...result })}\n` : `${result.acked} of ${rows.length} readings acknowledged in ${result.seconds.toFixed(1)} s\n`)
  } finally {
    bar.stop()
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new InvalidInputError(`${file} cannot be read`, { cause: error })
  }
}

function brokerPort(options: ReplayOptions): number {
  try {
    return ApiClient.find(options).runtime?.mqtts ?? 8883
  } catch (error) {
    if (error instanceof EnvironmentError) return 8883
    throw error
  }
}

function speed(text: string): number {
  if (text === 'max') return Infinity
  const value = Number(text)
  if (!(value > 0)) throw new InvalidInputError(`--speed: "${text}" is neither "max" nor a number above 0`)
  return value
}
