import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { InvalidInputError, StoreError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { Secret } from '../../kernel/secret.ts'
import type { ProvisioningConfig } from '../config.ts'
import { FileKeyStore } from './keys/file-key-store.ts'
import { findPassphrase, PASSPHRASE_FILE, type Passphrase } from './keys/passphrase.ts'
import { toStoreError } from './pki-errors.ts'
import { readRegister } from './register.ts'

export interface PassphraseChange {
  dataDir: string
  /** Names the new passphrase. */
  config: ProvisioningConfig
  /** Empty: that of the data folder. */
  oldPassphrase: string
  log: Logger
}

/**
 * Encrypts every CA key of a stopped platform anew; answers their names. Cut short and run again it goes on: a key that opens with the new
 * passphrase is done. Throws StoreError when a key opens with neither, InvalidInputError when there is no other passphrase.
 */
export async function changePassphrase({ dataDir, config, oldPassphrase, log }: PassphraseChange): Promise<string[]> {
  const folder = join(dataDir, 'pki')
  try {
    const register = await readRegister(folder)
    if (register === undefined) {
      throw new InvalidInputError(`${folder} holds no CA keys that are encrypted`, { remedy: 'Start this version once: it encrypts them.' })
    }
    const before = await oldOf(dataDir, oldPassphrase)
    const after = await findPassphrase(config, dataDir, { make: true })
    if (before.secret.reveal() === after.secret.reveal()) {
      throw new InvalidInputError('the new passphrase is the old one', { remedy: 'Set FLEETPULSE_CA_PASSPHRASE to the new one.' })
    }
    const keys = [...register.roots, ...register.issuers, ...register.requests].flatMap(({ key }) =>
      key?.store === 'file' ? [key.name] : [],
    )
    const opened = new FileKeyStore({ folder, passphrase: before, log })
    const done = new FileKeyStore({ folder, passphrase: after, log })
    const changed: string[] = []
    for (const name of keys) {
      // A root key that was carried away keeps the passphrase that it was encrypted with.
      if (!(await opened.has(name)) || (await opens(done, name))) continue
      await opened.reencrypt(name, after)
      changed.push(name)
    }
    // It opens nothing any more.
    if (after.source !== join(dataDir, PASSPHRASE_FILE)) await rm(join(dataDir, PASSPHRASE_FILE), { force: true })
    return changed
  } catch (error) {
    throw error instanceof InvalidInputError ? error : toStoreError(error, folder)
  }
}

function oldOf(dataDir: string, oldPassphrase: string): Promise<Passphrase> {
  if (oldPassphrase !== '')
    return Promise.resolve({ secret: new Secret(oldPassphrase), iterations: 1, source: 'FLEETPULSE_CA_OLD_PASSPHRASE' })
  return findPassphrase({ caPassphrase: '', caPassphraseFile: '' }, dataDir, { make: false })
}

async function opens(keys: FileKeyStore, name: string): Promise<boolean> {
  try {
    await keys.open(name)
    return true
  } catch (error) {
    if (error instanceof StoreError && error.code === 'STORE_UNUSABLE') return false
    throw error
  }
}
