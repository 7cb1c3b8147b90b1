import { Command, Option } from 'commander'
import { KEY_ROLES } from '../contracts/authorisation.ts'
import type { ApiKey } from '../dashboard/api/access/api-keys.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { duration, wholeNumber } from './options.ts'

interface KeyOptions extends PlatformOptions {
  role: string
  scope?: string[]
  lifetime?: number
  limit: number
  json?: boolean
}

export function apiKeyCommand(): Command {
  const command = new Command('api-key')
    .description('Keys of programs and people for the API and the page: make, list, revoke')
    .addHelpText('after', '\nExample:\n  fleetpulse api-key create "CI" --role viewer --scope read:alerts --lifetime 30d\n')
  command.addCommand(
    onPlatform(
      new Command('create')
        .description('Make a key; its secret is shown this once')
        .argument('<name>', 'of the person or program that holds it'),
    )
      .addOption(new Option('--role <role>', 'what it may do').choices(KEY_ROLES).default('viewer'))
      .option('--scope <scopes...>', 'narrows that: ACTION:KIND each, for instance read:alerts or write:*')
      .option('--lifetime <time>', 'how long it is good, for instance 30d (default: as configured)', duration)
      .addHelpText('after', '\nExample:\n  fleetpulse api-key create "Ana" --role operator\n')
      .action(create),
  )
  command.addCommand(
    onPlatform(new Command('list').description('Keys, newest first; never their secrets'))
      .option('--limit <n>', 'how many', wholeNumber(1, 1_000), 100)
      .addHelpText('after', '\nExample:\n  fleetpulse api-key list\n')
      .action(list),
  )
  command.addCommand(
    onPlatform(
      new Command('revoke').description('Revoke a key and the sessions opened with it, at once').argument('<id>', 'as `list` shows it'),
    )
      .addHelpText('after', '\nExample:\n  fleetpulse api-key revoke 01kb…\n')
      .action(revoke),
  )
  return command
}

function onPlatform(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'one line of JSON per key')
}

async function create(name: string, options: KeyOptions): Promise<void> {
  const { role, scope: scopes, lifetime: lifetimeMs } = options
  const body = { name, role, ...(scopes === undefined ? {} : { scopes }), ...(lifetimeMs === undefined ? {} : { lifetimeMs }) }
  await withApi(options, async (api) => {
    const made = await api.post<{ key: ApiKey; secret: string }>('/api-keys', body)
    if (options.json === true) process.stdout.write(`${JSON.stringify(made)}\n`)
    else process.stdout.write(`${lineOf(made.key)}\n${made.secret}\nKeep it: it is not shown again.\n`)
  })
}

async function list(options: KeyOptions): Promise<void> {
  await withApi(options, async (api) => {
    const { items } = await api.get<{ items: ApiKey[] }>(`/api-keys?limit=${options.limit}`)
    for (const key of items) print(key, options)
  })
}

async function revoke(id: string, options: KeyOptions): Promise<void> {
  await withApi(options, async (api) => print(await api.post<ApiKey>(`/api-keys/${encodeURIComponent(id)}/revoke`, {}), options))
}

async function withApi(options: KeyOptions, act: (api: ApiClient) => Promise<void>): Promise<void> {
  const api = ApiClient.find(options)
  try {
    await act(api)
  } finally {
    await api.close()
  }
}

function print(key: ApiKey, { json }: KeyOptions): void {
  process.stdout.write(`${json === true ? JSON.stringify(key) : lineOf(key)}\n`)
}

function lineOf({ id, name, role, scopes, expiresAt, lastUsedAt, revokedAt }: ApiKey): string {
  const state = revokedAt === null ? `until ${new Date(expiresAt).toISOString()}` : `revoked ${new Date(revokedAt).toISOString()}`
  const used = lastUsedAt === null ? 'never used' : `last used ${new Date(lastUsedAt).toISOString()}`
  return `${id}  ${role.padEnd(8)} ${scopes.join(',')}  ${state}, ${used}  ${name}`
}
