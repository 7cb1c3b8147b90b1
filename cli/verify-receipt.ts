import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { compactVerify, createLocalJWKSet, decodeProtectedHeader } from 'jose'
import { DECOMMISSION_RECEIPT } from '../device-registry/decommission/job.ts'
import { describeError, InvalidInputError } from '../kernel/errors.ts'
import type { PlatformOptions } from './api-client.ts'
import { dataFolderTrust, keysIn } from './audit-trust.ts'
import { EXIT } from './failure.ts'

interface VerifyReceiptOptions extends PlatformOptions {
  key?: string[]
  json?: boolean
}

type Verdict = { valid: true; kid: string | undefined; statement: Record<string, unknown> } | { valid: false; why: string }

export function verifyReceiptCommand(): Command {
  return new Command('receipt')
    .description('Check the signature of a receipt, without a platform: was it signed with this key, and is it unaltered?')
    .argument('<file>', 'the receipt, a JWS in compact form')
    .option('--key <file...>', "public keys to trust, PEM or JWK (set); default: the data folder's")
    .option('--data <dir>', 'data folder whose key is trusted (default: FLEETPULSE_DATA or ./data)')
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExit code 1 when it is not valid.\nExample:\n  fleetpulse verify receipt pump-1.jws --key jwks.json\n')
    .action(run)
}

async function run(file: string, options: VerifyReceiptOptions): Promise<void> {
  const given = await keysIn(options.key ?? [])
  const keys = given.length > 0 ? given : (await dataFolderTrust(options.data)).keys
  if (keys.length === 0)
    throw new InvalidInputError('there is no key to trust', { remedy: 'Name one with --key, or the data folder with --data.' })
  const verdict = await verify((await textOf(file)).trim(), keys)
  process.stdout.write(options.json === true ? `${JSON.stringify(verdict)}\n` : sentenceOf(verdict))
  if (!verdict.valid) process.exitCode = EXIT.failed
}

async function verify(jws: string, keys: Awaited<ReturnType<typeof keysIn>>): Promise<Verdict> {
  try {
    const { typ, kid } = decodeProtectedHeader(jws)
    if (typ !== DECOMMISSION_RECEIPT) return { valid: false, why: `it is a ${typ ?? 'statement without a type'}, no receipt` }
    const { payload } = await compactVerify(jws, createLocalJWKSet({ keys: [...keys] }), { algorithms: ['EdDSA'] })
    return { valid: true, kid, statement: JSON.parse(Buffer.from(payload).toString()) as Record<string, unknown> }
  } catch (error) {
    return { valid: false, why: describeError(error) }
  }
}

function sentenceOf(verdict: Verdict): string {
  if (!verdict.valid) return `NOT VALID: ${verdict.why}\n`
  const { tenant, device, kind, finishedAt } = verdict.statement
  return `valid: ${String(kind)} of ${String(tenant)}/${String(device)}, finished ${String(finishedAt)}, signed with key ${verdict.kid ?? 'without a name'}\n`
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new InvalidInputError(`the receipt ${file} cannot be read: ${describeError(error)}`, { cause: error })
  }
}
