import { Command } from 'commander'
import { BENCHES, runBenches } from '../benchmarks/main.ts'

export function benchCommand(): Command {
  return new Command('bench')
    .description('Measure this machine: one line of JSON per figure')
    .argument('[names...]', `which ones (default: all): ${Object.keys(BENCHES).join(', ')}`)
    .option('--json', 'lines of JSON, which is what it prints anyway')
    .allowUnknownOption()
    .addHelpText('after', '\nOptions behind one name are that bench\'s own (see its file in benchmarks/).\nExamples:\n  fleetpulse bench ingest\n  fleetpulse bench ingest --seconds 10\n')
    .action((names: string[]) => runBenches(names))
}
