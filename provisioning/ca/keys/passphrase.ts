import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeError, StoreError } from '../../../kernel/errors.ts'
import { writeFileAtomically } from '../../../kernel/files.ts'
import { Secret } from '../../../kernel/secret.ts'
import type { ProvisioningConfig } from '../../config.ts'

/** What opens the CA keys at rest. */
export interface Passphrase {
  secret: Secret
  /** How often it is hashed before use. */
  iterations: number
  /** Where it came from, for sentences. */
  source: string
}

/** In the data folder; outside `pki`, so that a copy of that folder alone opens nothing. */
export const PASSPHRASE_FILE = 'ca-passphrase'

/** PBKDF2 with HMAC-SHA-256, OWASP Password Storage Cheat Sheet (2023): about 0.2 s a key at start, and at each guess. */
const ITERATIONS_OF_PEOPLE = 600_000
/** 256 random bits cannot be guessed: stretching them only costs. */
const ITERATIONS_OF_RANDOM = 2_048
const RANDOM_BYTES = 32

/**
 * The passphrase as configured (`caPassphrase`, else `caPassphraseFile`), else the file of the data folder; with `make`, that file is
 * made when it is not there. Throws StoreError naming what is missing.
 */
export async function findPassphrase(
  config: Pick<ProvisioningConfig, 'caPassphrase' | 'caPassphraseFile'>,
  dataDir: string,
  options: { make: boolean },
): Promise<Passphrase> {
  if (config.caPassphrase !== '') {
    return { secret: new Secret(config.caPassphrase), iterations: ITERATIONS_OF_PEOPLE, source: 'FLEETPULSE_CA_PASSPHRASE' }
  }
  if (config.caPassphraseFile !== '') {
    return { secret: await readPassphrase(config.caPassphraseFile), iterations: ITERATIONS_OF_PEOPLE, source: config.caPassphraseFile }
  }
  const path = join(dataDir, PASSPHRASE_FILE)
  if (options.make && !(await exists(path))) await writeFileAtomically(path, `${randomBytes(RANDOM_BYTES).toString('base64url')}\n`)
  return { secret: await readPassphrase(path), iterations: ITERATIONS_OF_RANDOM, source: path }
}

async function readPassphrase(path: string): Promise<Secret> {
  let text: string
  try {
    text = (await readFile(path, 'utf8')).replace(/\r?\n$/, '')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new StoreError(
      'STORE_UNUSABLE',
      `The passphrase file ${path} of the CA keys ${missing ? 'is missing' : `cannot be read: ${describeError(error)}`}.`,
      {
        remedy: 'Restore it from a backup, or set FLEETPULSE_CA_PASSPHRASE; nothing was changed.',
        cause: error,
      },
    )
  }
  if (text !== '') return new Secret(text)
  throw new StoreError('STORE_UNUSABLE', `The passphrase file ${path} of the CA keys is empty.`, {
    remedy: 'Restore it from a backup, or set FLEETPULSE_CA_PASSPHRASE; nothing was changed.',
  })
}

async function exists(path: string): Promise<boolean> {
  try {
    await readFile(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
