import { Command } from 'commander'
import { CONFIG_FILE, loadConfig, unknownVariables } from '../app/config.ts'
import { Platform } from '../app/platform.ts'
import type { Ready, ReadyLine } from '../app/ready.ts'
import { checkTargets, parseTargets, TARGETS, type Target } from '../app/targets.ts'
import { describeError, InvalidInputError } from '../kernel/errors.ts'
import { EXIT } from './failure.ts'
import { wholeNumber } from './options.ts'
import { simulateHere, type RunningSimulation } from './simulate-here.ts'

interface StartOptions {
  target: string
  simulate: number
  printReady?: boolean
  validate?: boolean
  config?: string
  data?: string
  json?: boolean
}

/** A stop that takes longer is cut off, so that SIGTERM always ends within 10 s. */
const STOP_TIMEOUT_MS = 9_500

export function startCommand(): Command {
  return new Command('start')
    .description('Start the platform: broker, processing, alerts, API and page, in this process')
    .option(
      '--target <list>',
      `run only this part, beside others over Kafka, QuestDB and MongoDB: all, or a comma list of ${TARGETS.join(', ')}`,
      'all',
    )
    .option('--simulate <devices>', 'simulated devices to run beside it (0 for none; the last one given wins)', wholeNumber(0, 10_000), 0)
    .option('--print-ready', 'print one line of JSON when everything listens, and nothing else on stdout')
    .option('--validate', 'check the configuration and exit')
    .option('--config <file>', `configuration file (default ${CONFIG_FILE} when it exists)`)
    .option('--data <dir>', 'folder of all state (default: FLEETPULSE_DATA or ./data)')
    .option('--json', 'the same as --print-ready')
    .addHelpText(
      'after',
      '\nExamples:\n  fleetpulse start\n  fleetpulse start --simulate 12\n  fleetpulse start --target=edge\n  FLEETPULSE_API_PORT=0 fleetpulse start --print-ready\n',
    )
    .action(start)
}

async function start(options: StartOptions): Promise<void> {
  const env = options.data === undefined ? process.env : { ...process.env, FLEETPULSE_DATA: options.data }
  const config = loadConfig({ env, file: options.config ?? CONFIG_FILE, fileRequired: options.config !== undefined })
  const targets = parseTargets(options.target)
  if (options.simulate > 0 && targets.length < TARGETS.length)
    throw new InvalidInputError('--simulate runs beside --target=all only; use fleetpulse simulate')
  checkTargets(config, targets)
  if (options.validate === true) {
    process.stdout.write(options.json === true ? '{"valid":true}\n' : 'the configuration is valid\n')
    return
  }
  const quiet = options.printReady === true || options.json === true
  let simulation: RunningSimulation | undefined
  const platform = new Platform({
    config,
    targets,
    onFailure: (error) => {
      platform.log.fatal({ error: describeError(error) }, 'a part of the platform died, stopping')
      void stop(EXIT.failed)
    },
  })
  let stopping = false
  const stop = async (exitCode: number): Promise<void> => {
    if (stopping) return
    stopping = true
    process.exitCode = exitCode
    // Also keeps the process alive until everything has stopped: the platform's own timers do not.
    const cutOff = setTimeout(() => process.exit(exitCode || EXIT.failed), STOP_TIMEOUT_MS)
    await simulation?.stop()
    await platform.stop()
    clearTimeout(cutOff)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(EXIT.done))
  for (const name of unknownVariables(process.env))
    platform.log.warn({ variable: name }, 'this variable sets nothing here: see docs/configuration.md')
  const ready = await platform.start().catch((error: unknown) => {
    if (stopping) return undefined
    throw error
  })
  if (ready === undefined || stopping) return
  if (quiet) process.stdout.write(`${JSON.stringify(ready)}\n`)
  else if (isWhole(ready)) printWelcome(ready, options.simulate)
  else printPart(ready, targets)
  if (options.simulate > 0 && isWhole(ready)) simulation = simulateHere({ devices: options.simulate, ready, log: platform.log })
}

function isWhole(ready: ReadyLine): ready is Ready {
  return ready.api !== undefined && ready.mqtts !== undefined && ready.https !== undefined
}

function printPart(ready: ReadyLine, targets: readonly Target[]): void {
  const { ready: _, ...addresses } = ready
  const lines = Object.entries(addresses).map(([name, value]) => `    ${name.padEnd(12)}${value}`)
  process.stdout.write(`\n  Fleetpulse runs ${targets.join(', ')}.\n${lines.join('\n')}\n\n`)
}

function printWelcome(ready: Ready, simulated: number): void {
  const lines = [
    '',
    `  Fleetpulse runs.   page and API   ${ready.api}`,
    `                     devices        mqtts://localhost:${ready.mqtts}   wss://localhost:${ready.wss}   https://localhost:${ready.https}`,
    `                     token          ${ready.data}/admin-token`,
    '',
    '  Connect a device of your own:',
    '    ./fleetpulse provision device my-device --out my-device',
    `    mosquitto_pub -h localhost -p ${ready.mqtts} --cafile my-device/ca.pem --cert my-device/cert.pem --key my-device/key.pem \\`,
    `      -i my-device -q 1 -t devices/my-device/telemetry -m '{"values":{"temperature":21.5}}'`,
    '',
    ...(simulated > 0
      ? [`  ${simulated} simulated devices are joining; in about two minutes one of them goes wrong. Stop with Ctrl+C.`, '']
      : []),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}
