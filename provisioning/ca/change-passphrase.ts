import { readFile, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { STATEMENT_KEY_FILE } from '../../contracts/key-sealer.ts'
import { InvalidInputError, StoreError } from '../../kernel/errors.ts'
import { writeFileAtomically } from '../../kernel/files.ts'
import type { Logger } from '../../kernel/log.ts'
import { Secret } from '../../kernel/secret.ts'
import type { ProvisioningConfig } from '../config.ts'
import { decryptKey, encryptKey } from './keys/encrypted-key.ts'
import { FileKeyStore } from './keys/file-key-store.ts'
import { findPassphrase, PASSPHRASE_FILE, type Passphrase } from './keys/passphrase.ts'
import { PKI_FILES } from './make-pki.ts'
import { codeOf, toStoreError } from './pki-errors.ts'
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
 * Encrypts every CA key of a stopped platform anew, the key of statements and that of its listeners; answers their names. Cut short and run again it goes on: a key that opens with the new
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
    for (const path of [join(dataDir, STATEMENT_KEY_FILE), join(folder, PKI_FILES.server)]) {
      if (await reencryptIn(path, before, after)) changed.push(basename(path))
    }
    // It opens nothing any more.
    if (after.source !== join(dataDir, PASSPHRASE_FILE)) await rm(join(dataDir, PASSPHRASE_FILE), { force: true })
    return changed
  } catch (error) {
    throw error instanceof InvalidInputError ? error : toStoreError(error, folder)
  }
}

/** The key of a file that may hold a certificate behind it; false when it is not there, not encrypted, or done already. */
async function reencryptIn(path: string, before: Passphrase, after: Passphrase): Promise<boolean> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
  const [sealed] = /^-----BEGIN ENCRYPTED PRIVATE KEY-----[^]*?-----END ENCRYPTED PRIVATE KEY-----\n/.exec(text) ?? []
  if (sealed === undefined || isOpenedBy(sealed, after)) return false
  const key = decryptKey(sealed, before.secret.reveal())
  await writeFileAtomically(path, (await encryptKey(key, after.secret.reveal(), after.iterations)) + text.slice(sealed.length), 0o600)
  return true
}

function isOpenedBy(pem: string, { secret }: Passphrase): boolean {
  try {
    decryptKey(pem, secret.reveal())
    return true
  } catch {
    return false
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
