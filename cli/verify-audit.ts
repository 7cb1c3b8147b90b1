import { createReadStream, createWriteStream } from 'node:fs'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import { Command } from 'commander'
import type { PublicJwk } from '../contracts/statement.ts'
import { AuditVerifier, type AuditReport } from '../device-registry/audit/verifier.ts'
import { describeError, InvalidInputError } from '../kernel/errors.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { checkpointsIn, dataFolderTrust, keysIn, type Trust } from './audit-trust.ts'
import { EXIT } from './failure.ts'

interface VerifyAuditOptions extends PlatformOptions {
  file?: string
  export?: string
  key?: string[]
  checkpoint?: string[]
  json?: boolean
}

export interface AuditAnswer extends AuditReport {
  /** Where the keys come from that the checkpoints were checked with. */
  trust: Trust['from']
  /** Their RFC 7638 thumbprints. */
  keys: string[]
}

const FAULTS_PRINTED = 50

export function verifyAuditCommand(): Command {
  return new Command('audit')
    .description('Recompute the audit trail: was a record altered, removed, inserted or reordered, or a checkpoint forged?')
    .option('--file <file>', 'an export to check, without a platform')
    .option('--export <file>', 'also write the trail as JSON lines')
    .option('--key <file...>', "public keys to trust, PEM or JWK (set); default: the data folder's, else those the trail brings along")
    .option('--checkpoint <file...>', 'checkpoints kept elsewhere (JWS or JSON lines); the trail must go through them')
    .option('--data <dir>', 'data folder of the platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', 'origin of the API, instead of looking into the data folder')
    .option('--json', 'answer one line of JSON')
    .addHelpText(
      'after',
      '\nThe platform signs the end of the trail every few seconds. Somebody who can write to its database could still take away, together with its' +
        '\ncheckpoints, what is newer than a checkpoint you kept: keep some elsewhere (GET /api/v1/audit/checkpoint, or an export).' +
        '\nExit code 1 when something is wrong with the trail.' +
        '\nExamples:\n  fleetpulse verify audit\n  fleetpulse verify audit --export audit.jsonl\n  fleetpulse verify audit --file audit.jsonl --key statement-key.pub.pem\n',
    )
    .action(run)
}

async function run(options: VerifyAuditOptions): Promise<void> {
  const given = await keysIn(options.key ?? [])
  // Read before the trail is: what it says was there by then.
  const local =
    options.api === undefined && options.file === undefined ? await dataFolderTrust(options.data) : { keys: [], checkpoints: [] }
  const trust: Trust = given.length > 0 ? { from: 'given', keys: given } : { from: 'data folder', keys: local.keys }
  const known = [...local.checkpoints, ...(await checkpointsIn(options.checkpoint ?? []))]
  const answer =
    options.file === undefined ? await verifyRunning(options, trust, known) : await verifyLines(linesOf(options.file), trust, known)
  process.stdout.write(options.json === true ? `${JSON.stringify({ intact: answer.faultsTotal === 0, ...answer })}\n` : textOf(answer))
  if (answer.faultsTotal > 0) process.exitCode = EXIT.failed
}

async function verifyRunning(options: VerifyAuditOptions, trust: Trust, known: readonly string[]): Promise<AuditAnswer> {
  const api = ApiClient.find(options)
  try {
    const lines = api.lines('/audit/export')
    return await verifyLines(options.export === undefined ? lines : copiedTo(options.export, lines), trust, known)
  } finally {
    await api.close()
  }
}

/** Checks an export line by line. Keys that it brings along are trusted only where there are no others. */
export async function verifyLines(lines: AsyncIterable<string>, trust: Trust, known: readonly string[]): Promise<AuditAnswer> {
  const { keys } = trust
  const brought: PublicJwk[] = []
  let verifier: AuditVerifier | undefined
  const begun = async (): Promise<AuditVerifier> => {
    if (verifier !== undefined) return verifier
    verifier = new AuditVerifier(keys.length > 0 ? keys : brought)
    return verifier
  }
  let compared = false
  for await (const line of lines) {
    if (line === '') continue
    const record = recordOf(line)
    if (record?.kind === 'key' && verifier === undefined) brought.push(record.key as PublicJwk)
    else if (record?.kind === 'checkpoint') await (await begun()).takeCheckpoint(record.jws)
    else if (record?.kind === 'entry') {
      const to = await begun()
      if (!compared)
        for (const jws of known)
          if (tenantIn(jws) === (record.entry as { tenant?: unknown } | undefined)?.tenant) await to.takeCheckpoint(jws)
      compared = true
      to.takeEntry(record.entry)
    } else (await begun()).noteUnreadable(`not a record: ${line.slice(0, 80)}`)
  }
  const end = await begun()
  if (!compared) for (const jws of known) await end.takeCheckpoint(jws)
  const used = keys.length > 0 ? keys : brought
  return { ...end.finish(), trust: keys.length > 0 ? trust.from : 'the trail itself', keys: used.map(({ kid }) => kid) }
}

function recordOf(line: string): { kind?: unknown; key?: unknown; jws?: unknown; entry?: unknown } | undefined {
  try {
    const record: unknown = JSON.parse(line)
    return typeof record === 'object' && record !== null ? record : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Not verified yet: it only says whether the checkpoint is about this trail. */
function tenantIn(jws: string): unknown {
  const payload = recordOf(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8')) as { tenant?: unknown } | undefined
  return payload?.tenant
}

async function* linesOf(path: string): AsyncGenerator<string> {
  const input = createReadStream(path)
  try {
    await once(input, 'open')
  } catch (error) {
    throw new InvalidInputError(`--file: ${path} cannot be read: ${describeError(error)}`, {
      cause: error,
      remedy: 'Name a file that `fleetpulse verify audit --export` wrote.',
    })
  }
  yield* createInterface({ input, crlfDelay: Infinity })
}

async function* copiedTo(path: string, lines: AsyncIterable<string>): AsyncGenerator<string> {
  const output = createWriteStream(path, { mode: 0o600 })
  const written = finished(output)
  try {
    for await (const line of lines) {
      if (!output.write(`${line}\n`)) await Promise.race([once(output, 'drain'), written])
      yield line
    }
  } finally {
    output.end()
    await written.catch((error: unknown) => {
      throw new InvalidInputError(`--export: ${path} cannot be written: ${describeError(error)}`, {
        cause: error,
        remedy: 'Choose a folder that can be written.',
      })
    })
  }
}

function textOf(answer: AuditAnswer): string {
  const { tenant, entries, firstSeq, lastSeq, checkpoints, sealedThrough, faults, faultsTotal, trust, keys } = answer
  if (entries === 0 && faultsTotal === 0) return 'The audit trail is empty.\n'
  const tail = lastSeq - sealedThrough
  const lines = [
    `${entries} entries of tenant ${tenant ?? '?'} (${firstSeq} to ${lastSeq}), ${checkpoints} checkpoints agree${tail > 0 ? `; ${tail} entries are newer than the last one` : ''}`,
    `Keys from ${trust}: ${keys.join(', ') || 'none'}${trust === 'the trail itself' ? ' (compare them with what you know, or name a key with --key)' : ''}`,
  ]
  if (faultsTotal === 0) return `${[...lines, 'Nothing was altered, removed, inserted or reordered.'].join('\n')}\n`
  const shown = faults
    .slice(0, FAULTS_PRINTED)
    .map(({ fault, seq, detail }) => `  ${fault.padEnd(20)}  ${seq === 0 ? '' : `entry ${seq}: `}${detail}`)
  const rest = faultsTotal > shown.length ? [`  … and ${faultsTotal - shown.length} more`] : []
  return `${[...lines, 'The audit trail is not as it was written:', ...shown, ...rest].join('\n')}\n`
}
