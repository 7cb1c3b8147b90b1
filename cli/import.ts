import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Command } from 'commander'
import { InvalidInputError } from '../kernel/errors.ts'
import { writeFileAtomically } from '../kernel/files.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { EXIT } from './failure.ts'

interface ImportOptions extends PlatformOptions {
  dryRun?: boolean
  tokens?: string
  json?: boolean
}

interface ImportAnswer {
  dryRun: boolean
  summary: { created: number; changed: number; unchanged: number; failed: number }
  rows: { line: number; id: string; status: string; field?: string; problem?: string; token?: string; tokenExpiresAt?: number }[]
}

export function importCommand(): Command {
  return new Command('import')
    .description('Register devices from a CSV file: columns id, type (may be missing) and one for each label')
    .argument('<file>', 'the file; - reads it from standard input')
    .option('--dry-run', 'say what would happen, and change nothing')
    .option('--tokens <file>', 'write an enrolment token for each new device there: id,token,expiresAt')
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
    .addHelpText(
      'after',
      '\nThe same file again changes nothing. Exit code 1: some rows failed, the others hold.\n\nExample:\n  fleetpulse import devices.csv --dry-run\n',
    )
    .action(importDevices)
}

async function importDevices(file: string, options: ImportOptions): Promise<void> {
  if (file !== '-') await mustBeFile(file)
  const api = ApiClient.find(options)
  try {
    const query = new URLSearchParams()
    if (options.dryRun === true) query.set('dryRun', 'true')
    if (options.tokens !== undefined) query.set('tokens', 'true')
    const source = file === '-' ? process.stdin : createReadStream(file)
    const answer = await api.postFile<ImportAnswer>(`/devices/import?${query.toString()}`, source, 'text/csv')
    if (options.tokens !== undefined && answer.dryRun === false) await writeTokens(options.tokens, answer)
    report(answer, options)
    if (answer.summary.failed > 0) process.exitCode = EXIT.failed
  } finally {
    await api.close()
  }
}

async function mustBeFile(path: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new InvalidInputError(`${path} cannot be read`, { cause })
  })
  if (!found.isFile()) throw new InvalidInputError(`${path} is not a file`)
}

/** Tokens are secrets: mode 0600. */
async function writeTokens(path: string, { rows }: ImportAnswer): Promise<void> {
  const lines = rows.flatMap(({ id, token, tokenExpiresAt }) =>
    token === undefined ? [] : [`${id},${token},${new Date(tokenExpiresAt ?? 0).toISOString()}`],
  )
  await writeFileAtomically(path, ['id,token,expiresAt', ...lines, ''].join('\n'), 0o600)
}

function report({ dryRun, summary, rows }: ImportAnswer, options: ImportOptions): void {
  if (options.json === true) {
    const shown = rows.map(({ token: _token, tokenExpiresAt: _tokenExpiresAt, ...row }) => row)
    process.stdout.write(`${JSON.stringify({ dryRun, summary, rows: shown })}\n`)
    return
  }
  for (const { line, id, field, problem, status } of rows) {
    if (status === 'failed') process.stdout.write(`line ${line}${id === '' ? '' : ` (${id})`}: ${field}: ${problem}\n`)
  }
  const { created, changed, unchanged, failed } = summary
  process.stdout.write(`${dryRun ? 'would be: ' : ''}${created} created, ${changed} changed, ${unchanged} unchanged, ${failed} failed\n`)
  if (options.tokens !== undefined && !dryRun) process.stdout.write(`tokens of the new devices are in ${options.tokens}\n`)
}
