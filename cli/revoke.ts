import { readFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { CRL_REASONS } from '../contracts/certificate.ts'
import { describeError, InvalidInputError } from '../kernel/errors.ts'
import type { ImportedCrl } from '../provisioning/revocation/crl-import.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'

interface RevokeOptions extends PlatformOptions {
  reason: string
  crl?: string
  json?: boolean
}

export function revokeCommand(): Command {
  return new Command('revoke')
    .description('Revoke one certificate, or every one that a CRL lists: live sessions end at once')
    .argument('[serial]', 'serial in hex, as openssl prints it')
    .addOption(new Option('--reason <reason>', 'a CRLReason name').choices(Object.keys(CRL_REASONS)).default('unspecified'))
    .option('--crl <file>', 'a CRL, DER or PEM, of one of our CAs or of a registered one')
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExamples:\n  fleetpulse revoke 01A9F0… --reason keyCompromise\n  fleetpulse revoke --crl corporate.crl\n')
    .action(revoke)
}

async function revoke(serial: string | undefined, options: RevokeOptions): Promise<void> {
  if ((serial === undefined) === (options.crl === undefined)) throw new InvalidInputError('name either a serial or a CRL with --crl FILE')
  const api = ApiClient.find(options)
  try {
    if (serial === undefined) await importCrl(api, options.crl ?? '', options)
    else await revokeOne(api, serial, options)
  } finally {
    await api.close()
  }
}

async function revokeOne(api: ApiClient, serial: string, { reason, json }: RevokeOptions): Promise<void> {
  const revoked = await api.post<{ serial: string; device: string; reason: string; revokedAt: number }>(
    `/certificates/${encodeURIComponent(serial)}/revoke`,
    { reason },
  )
  const { device, revokedAt } = revoked
  if (json === true) process.stdout.write(`${JSON.stringify({ serial: revoked.serial, device, reason: revoked.reason, revokedAt })}\n`)
  else process.stdout.write(`${revoked.serial} of ${device}: revoked (${revoked.reason}) at ${new Date(revokedAt).toISOString()}\n`)
}

async function importCrl(api: ApiClient, file: string, { json }: RevokeOptions): Promise<void> {
  let bytes: Buffer
  try {
    bytes = await readFile(file)
  } catch (error) {
    throw new InvalidInputError(`the CRL ${file} cannot be read: ${describeError(error)}`, { cause: error })
  }
  const imported = await api.postFile<ImportedCrl>('/crl-imports', bytes, 'application/pkix-crl')
  if (json === true) {
    process.stdout.write(`${JSON.stringify(imported)}\n`)
    return
  }
  const { issuer, number, summary, entries, isStale } = imported
  const stale = isStale ? '; its nextUpdate is over, there may be a newer one' : ''
  process.stdout.write(`CRL ${number ?? 'without number'} of ${issuer}${stale}\n`)
  for (const { serial, outcome, device, reason } of entries) {
    if (outcome !== 'unknown') process.stdout.write(`  ${serial} ${outcome} (${reason})${device === undefined ? '' : ` ${device}`}\n`)
  }
  process.stdout.write(`revoked ${summary.revoked}, already revoked ${summary['already-revoked']}, not ours ${summary.unknown}, ignored ${summary.ignored}\n`)
}
