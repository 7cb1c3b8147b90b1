import { Command } from 'commander'
import type { PreviewResult } from '../processing/rules/rule-preview.ts'
import type { RuleView } from '../processing/rules/rules-service.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { instant } from './options.ts'
import { planRules, readRules, type RuleStep } from './rules-file.ts'

interface RulesOptions extends PlatformOptions {
  prune?: boolean
  dryRun?: boolean
  from?: number
  to?: number
  json?: boolean
}

export function rulesCommand(): Command {
  const rules = new Command('rules')
    .description('Keep threshold rules in a file: list them, try them on stored readings, apply them')
    .addHelpText('after', '\nExample:\n  fleetpulse rules list --json > rules.json\n')
  rules.addCommand(
    onPlatform(new Command('list').description('Rules of the platform, as a file of rules with --json'))
      .addHelpText('after', '\nExample:\n  fleetpulse rules list --json > rules.json\n')
      .action(list),
  )
  rules.addCommand(
    onPlatform(
      new Command('preview')
        .description('How often the rules of a file would have been broken; changes nothing')
        .argument('<file>', 'JSON: an array of rules')
        .option('--from <time>', 'first event time: epoch ms or RFC 3339; a day before --to', instant)
        .option('--to <time>', 'last event time; now', instant),
    )
      .addHelpText('after', '\nExample:\n  fleetpulse rules preview rules.json --from 2026-01-01T00:00:00Z\n')
      .action(preview),
  )
  rules.addCommand(
    onPlatform(
      new Command('apply')
        .description('Add and change rules, known by their names, until the platform has those of a file; again changes nothing')
        .argument('<file>', 'JSON: an array of rules')
        .option('--prune', 'remove rules that the file has not; the alerts that they opened are cleared')
        .option('--dry-run', 'only say what would be done'),
    )
      .addHelpText('after', '\nExample:\n  fleetpulse rules apply rules.json --prune --dry-run\n')
      .action(apply),
  )
  return rules
}

function onPlatform(command: Command): Command {
  return command
    .option('--data <folder>', 'data folder of the platform; FLEETPULSE_DATA or ./data')
    .option('--api <url>', 'origin of its API, instead of looking into the data folder')
    .option('--json', 'print JSON')
}

async function list(options: RulesOptions): Promise<void> {
  const { items } = await withClient(options, keptRules)
  const line = ({ name, enabled, severity, metric, is, raise }: RuleView): string =>
    `${name}  ${severity}  ${metric} ${is} ${String(raise)}${enabled ? '' : '  (off)'}\n`
  process.stdout.write(options.json === true ? `${JSON.stringify(items, null, 2)}\n` : items.map(line).join(''))
}

async function preview(file: string, options: RulesOptions): Promise<void> {
  const rules = readRules(file)
  const { from, to } = options
  const range = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) }
  const results = await withClient(options, async (client) => {
    const all: (PreviewResult & { name: string })[] = []
    for (const rule of rules) all.push({ name: rule.name, ...(await client.post<PreviewResult>('/rules/preview', { rule, ...range })) })
    return all
  })
  const line = ({ name, count, devicesFired, devices, readings, truncated }: (typeof results)[number]): string =>
    `${name}: ${count} times on ${devicesFired} of ${devices} devices, over ${readings} readings${truncated ? ' (not all there are)' : ''}\n`
  process.stdout.write(options.json === true ? `${JSON.stringify(results)}\n` : results.map(line).join(''))
}

async function apply(file: string, options: RulesOptions): Promise<void> {
  const wanted = readRules(file)
  await withClient(options, async (client) => {
    const steps = planRules(wanted, (await keptRules(client)).items, options.prune === true)
    const done: { status: RuleStep['status']; name: string }[] = []
    try {
      for (const step of steps) {
        if (options.dryRun !== true) await take(client, step)
        done.push({ status: step.status, name: step.name })
      }
    } finally {
      // One that is refused stops those after it; those before it stand, and the file can be applied again.
      const lines = done.map(({ status, name }) => `${options.dryRun === true ? 'would be ' : ''}${status}  ${name}\n`)
      process.stdout.write(options.json === true ? `${JSON.stringify(done)}\n` : lines.join(''))
    }
  })
}

async function take(client: ApiClient, step: RuleStep): Promise<void> {
  if (step.status === 'created') await client.post('/rules', step.settings)
  if (step.status === 'changed' && step.kept !== null) await client.put(`/rules/${step.kept.id}`, step.settings, step.kept.version)
  if (step.status === 'removed') await client.delete(`/rules/${step.kept.id}`, step.kept.version)
}

function keptRules(client: ApiClient): Promise<{ items: RuleView[] }> {
  return client.get<{ items: RuleView[] }>('/rules')
}

async function withClient<T>(options: RulesOptions, run: (client: ApiClient) => Promise<T>): Promise<T> {
  const client = ApiClient.find(options)
  try {
    return await run(client)
  } finally {
    await client.close()
  }
}
