import { Command } from 'commander'
import { packageVersion } from './version.ts'

/** Commands in the order of the help. Only the one that is run is loaded: stores and certificates take a second to load. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  start: async () => (await import('./start.ts')).startCommand(),
  provision: async () => (await import('./provision.ts')).provisionCommand(),
  device: async () => (await import('./device.ts')).deviceCommand(),
  revoke: async () => (await import('./revoke.ts')).revokeCommand(),
  import: async () => (await import('./import.ts')).importCommand(),
  simulate: async () => (await import('./simulate.ts')).simulateCommand(),
  chat: async () => (await import('./chat.ts')).chatCommand(),
  proposal: async () => (await import('./proposal.ts')).proposalCommand(),
  'dead-letters': async () => (await import('./dead-letters.ts')).deadLettersCommand(),
  'api-key': async () => (await import('./api-key.ts')).apiKeyCommand(),
  trace: async () => (await import('./trace.ts')).traceCommand(),
  replay: async () => (await import('./replay.ts')).replayCommand(),
  score: async () => (await import('./score.ts')).scoreCommand(),
  feedback: async () => (await import('./feedback.ts')).feedbackCommand(),
  rules: async () => (await import('./rules.ts')).rulesCommand(),
  'replay-anomaly': async () => (await import('./replay-anomaly.ts')).replayAnomalyCommand(),
  backtest: async () => (await import('./backtest.ts')).backtestCommand(),
  verify: async () => (await import('./verify.ts')).verifyCommand(),
  ca: async () => (await import('./ca.ts')).caCommand(),
  migrate: async () => (await import('./migrate.ts')).migrateCommand(),
  bench: async () => (await import('./bench.ts')).benchCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
}

/** The program with the named command, or, for any other name, with all of them. Help, version and wrong usage end the process. */
export async function programFor(named: string): Promise<Command> {
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
  for (const name of Object.hasOwn(COMMANDS, named) ? [named] : Object.keys(COMMANDS)) {
    const command = await COMMANDS[name]?.()
    if (command !== undefined) inherit(program, command)
  }
  return program
}

/** Settings go to every level of commands: an unknown option ends with 2 wherever it stands. */
function inherit(parent: Command, command: Command): void {
  command.copyInheritedSettings(parent)
  for (const inner of command.commands) inner.copyInheritedSettings(command)
  parent.addCommand(command)
}
