import { Command } from 'commander'
import { displayText, tainted } from '../agents/evidence/tainted.ts'
import type { Proposal } from '../contracts/proposal.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { wholeNumber } from './options.ts'

const LINE_LENGTH_MAX = 500

interface ProposalOptions extends PlatformOptions {
  state?: string
  incident?: string
  limit: number
  hash?: string
  reason: string
  json?: boolean
}

export function proposalCommand(): Command {
  const command = new Command('proposal')
    .description('What agents propose to do: look at it, approve or reject it')
    .addHelpText('after', '\nExample:\n  fleetpulse proposal list --state pending\n')
  command.addCommand(
    onPlatform(new Command('list').description('Proposals, newest first'))
      .option('--state <state>', 'pending, approved, done, failed, rejected or expired')
      .option('--incident <id>', 'of one incident')
      .option('--limit <n>', 'how many', wholeNumber(1, 200), 50)
      .addHelpText('after', '\nExample:\n  fleetpulse proposal list --state pending\n')
      .action(list),
  )
  command.addCommand(
    onPlatform(new Command('show').description('What one would change now').argument('<id>', 'of the proposal'))
      .addHelpText('after', '\nExample:\n  fleetpulse proposal show pr_4f1c…\n')
      .action((id: string, options: ProposalOptions) => one(options, (api) => api.get<Proposal>(pathOf(id)))),
  )
  command.addCommand(
    onPlatform(new Command('approve').description('Have exactly what was shown done, once').argument('<id>', 'of the proposal'))
      .requiredOption('--hash <sha256>', 'of the changes, as `show` tells it: refused where they would be others by now')
      .addHelpText('after', '\nExample:\n  fleetpulse proposal approve pr_4f1c… --hash 9a0b…\n')
      .action((id: string, options: ProposalOptions) =>
        one(options, (api) => api.post<Proposal>(`${pathOf(id)}/approve`, { diffHash: options.hash })),
      ),
  )
  command.addCommand(
    onPlatform(new Command('reject').description('Have it never done').argument('<id>', 'of the proposal'))
      .requiredOption('--reason <text>', 'why, for the record')
      .addHelpText('after', '\nExample:\n  fleetpulse proposal reject pr_4f1c… --reason "was on site"\n')
      .action((id: string, options: ProposalOptions) =>
        one(options, (api) => api.post<Proposal>(`${pathOf(id)}/reject`, { reason: options.reason })),
      ),
  )
  return command
}

function onPlatform(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'one line of JSON per proposal')
}

function pathOf(id: string): string {
  return `/proposals/${encodeURIComponent(id)}`
}

async function list(options: ProposalOptions): Promise<void> {
  const query = new URLSearchParams({ limit: String(options.limit) })
  for (const [name, value] of Object.entries({ state: options.state, incident: options.incident }))
    if (value !== undefined) query.set(name, value)
  const api = ApiClient.find(options)
  try {
    for (const proposal of (await api.get<{ items: Proposal[] }>(`/proposals?${query.toString()}`)).items) print(proposal, options)
  } finally {
    await api.close()
  }
}

async function one(options: ProposalOptions, ask: (api: ApiClient) => Promise<Proposal>): Promise<void> {
  const api = ApiClient.find(options)
  try {
    print(await ask(api), options)
  } finally {
    await api.close()
  }
}

function print(proposal: Proposal, { json }: ProposalOptions): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(proposal)}\n`)
    return
  }
  const { id, state, kind, target, cause, level, diff, diffHash, outcome, reason } = proposal
  const changes = diff.map(({ subject, field, before, after }) => `  ${subject} ${field}: ${String(before)} -> ${String(after)}`)
  const end = [outcome, reason].filter((text) => text !== null).join('; ')
  const lines = [
    `${id}  ${state}  ${kind} of ${target} (${level}: ${cause})${end === '' ? '' : `: ${end}`}`,
    ...changes,
    `  hash ${diffHash}`,
  ]
  process.stdout.write(`${lines.map((line) => plain(line)).join('\n')}\n`)
}

/** Nothing that a terminal would obey. */
function plain(line: string): string {
  return displayText(tainted(line), LINE_LENGTH_MAX)
}
