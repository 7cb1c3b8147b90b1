import { Command } from 'commander'
import { benchCommand } from './bench.ts'
import { doctorCommand } from './doctor.ts'
import { reportFailure } from './failure.ts'
import { provisionCommand } from './provision.ts'
import { replayCommand } from './replay.ts'
import { scoreCommand } from './score.ts'
import { simulateCommand } from './simulate.ts'
import { startCommand } from './start.ts'
import { packageVersion } from './version.ts'

const ALIVE_MS = 60_000

const program = new Command('fleetpulse')
  .description('Streaming telemetry and anomaly detection for fleets of devices.')
  .version(packageVersion())
  .showHelpAfterError('(run with --help for the options and examples)')
  .configureHelp({ sortSubcommands: false })
  .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 the platform could not be reached, 130 interrupted.')
  .exitOverride((error) => {
    // commander has printed what is wrong; help and version are no failures
    process.exit(error.exitCode === 0 ? 0 : 2)
  })

for (const command of [startCommand, provisionCommand, simulateCommand, replayCommand, scoreCommand, benchCommand, doctorCommand]) {
  inherit(program, command())
}

/** Settings go to every level of commands: an unknown option ends with 2 wherever it stands. */
function inherit(parent: Command, command: Command): void {
  command.copyInheritedSettings(parent)
  for (const inner of command.commands) inner.copyInheritedSettings(command)
  parent.addCommand(command)
}

// The platform's timers do not keep a process alive: a command that waits, for a broker to come back say, must not just end.
const alive = setInterval(() => undefined, ALIVE_MS)
try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = reportFailure(error, process.argv.includes('--json'))
} finally {
  clearInterval(alive)
}
