import { randomBytes, X509Certificate } from 'node:crypto'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { StoreError } from '../../kernel/errors.ts'
import { syncFolder, writeFileAtomically } from '../../kernel/files.ts'
import type { Logger } from '../../kernel/log.ts'
import type { ProvisioningConfig } from '../config.ts'
import { isLive } from './issuing-ca.ts'
import { KeyStores } from './keys/key-stores.ts'
import { findPassphrase } from './keys/passphrase.ts'
import { loadPki, readText, type Pki } from './load-pki.ts'
import { makePki, PKI_FILES, PKI_FORMAT, writeFormat, type CaProfile } from './make-pki.ts'
import { codeOf, corrupt, toStoreError } from './pki-errors.ts'
import { readRegister, writeRegister, type Register } from './register.ts'

export interface PkiFolderOptions {
  dataDir: string
  config: ProvisioningConfig
  profile: CaProfile
  log: Logger
}

const UNFINISHED = /^(\.pki-[0-9a-f]{16}|ca-passphrase\.[0-9a-f]{12})\.tmp$/

/**
 * Opens `<data>/pki`, or makes it on the first start: in a folder of its own, moved into place when complete. So a first start cut short
 * leaves no PKI rather than half of one, and the next start begins anew; keys of the cut-short one never signed anything in use.
 * Throws StoreError: STORE_CORRUPT (damaged, missing or mismatching files), STORE_NEWER, STORE_UNUSABLE, STORE_FULL. Never overwrites.
 */
export async function openPki(options: PkiFolderOptions, nowMs: number): Promise<{ pki: Pki; keys: KeyStores }> {
  const { dataDir, config, log } = options
  const folder = join(dataDir, 'pki')
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await removeUnfinished(dataDir)
    if (await isAbsentOrEmpty(folder)) {
      await makeInPlace(folder, options, nowMs)
      log.info({ folder }, 'certificate authority created')
    }
    const format = await readFormat(folder)
    const passphrase = await findPassphrase(config, dataDir, { make: format < PKI_FORMAT })
    const keys = new KeyStores({ folder, passphrase, config, log })
    try {
      if (format < PKI_FORMAT) await upgrade(folder, log)
      const register = await readRegister(folder)
      if (register === undefined) throw corrupt(folder, 'authorities.json', 'is missing')
      const pki = await loadPki(folder, register, keys, nowMs)
      await writeTrust(pki, nowMs)
      return { pki, keys }
    } catch (error) {
      await keys.close()
      throw error
    }
  } catch (error) {
    throw toStoreError(error, folder)
  }
}

/** Roots of live issuing CAs, then these with what lies between, each once. */
export function trustedOf({ roots, issuers }: Pick<Pki, 'roots' | 'issuers'>, nowMs: number): X509Certificate[] {
  const live = issuers.filter((ca) => isLive(ca, nowMs))
  const anchors = roots.filter((root) => live.some((ca) => ca.root.id === root.id))
  const all = [...anchors.map(({ certificate }) => certificate), ...live.flatMap((ca) => [ca.certificate, ...ca.chain])]
  return [...new Map(all.map((certificate) => [certificate.fingerprint256, certificate])).values()]
}

/** PEM of roots and live issuing CAs: what to trust. Both, so that a peer may send its leaf alone. */
export function trustPem(pki: Pick<Pki, 'roots' | 'issuers'>, nowMs: number): string {
  return trustedOf(pki, nowMs)
    .map((certificate) => certificate.toString())
    .join('')
}

/** `ca.pem` says what the register says; a change that a crash cut off before it is caught up with here. */
export async function writeTrust(pki: Pki, nowMs: number): Promise<void> {
  const wanted = trustPem(pki, nowMs)
  const found = await readText(pki.folder, PKI_FILES.trust).catch((error: unknown) => {
    if (error instanceof StoreError) return ''
    throw error
  })
  if (found !== wanted) await writeFileAtomically(join(pki.folder, PKI_FILES.trust), wanted, 0o644)
}

async function makeInPlace(folder: string, { config, dataDir, log, profile }: PkiFolderOptions, nowMs: number): Promise<void> {
  const unfinished = join(dataDir, `.pki-${randomBytes(8).toString('hex')}.tmp`)
  await mkdir(unfinished, { mode: 0o700 })
  // Before any key: what is encrypted with a passphrase that was lost is lost too.
  const passphrase = await findPassphrase(config, dataDir, { make: true })
  const keys = new KeyStores({ folder: unfinished, passphrase, config, log })
  try {
    await makePki(unfinished, keys, profile, nowMs)
  } finally {
    await keys.close()
  }
  // Moving over a folder that has files in it fails: of two first starts at once one wins and the other says so.
  await rename(unfinished, folder)
  await syncFolder(dataDir)
}

/**
 * From format 1: one root and one issuing CA with unencrypted keys. The new format is written before any key is encrypted, so that an
 * older Fleetpulse never meets a key that it cannot read; keys are encrypted when they are opened, one by one.
 */
async function upgrade(folder: string, log: Logger): Promise<void> {
  const subject = new X509Certificate(await readCertificateText(folder, 'root.crt')).subject
  await readText(folder, 'root.key')
  await readText(folder, 'issuing.key')
  const register: Register = {
    mark: /CA ([0-9A-F]{8})$/m.exec(subject)?.[1] ?? randomBytes(4).toString('hex').toUpperCase(),
    roots: [{ id: 'root', key: { store: 'file', name: 'root' }, crlNumber: 0 }],
    issuers: [{ id: 'issuing', root: 'root', key: { store: 'file', name: 'issuing' }, issuesFromMs: 0, retired: null }],
    requests: [],
  }
  await writeRegister(folder, register)
  await writeFormat(folder)
  log.info({ folder, format: PKI_FORMAT }, 'certificate store upgraded')
}

async function readCertificateText(folder: string, name: string): Promise<string> {
  const pem = await readText(folder, name)
  try {
    new X509Certificate(pem)
    return pem
  } catch (error) {
    throw corrupt(folder, name, 'is not a readable certificate', error)
  }
}

async function removeUnfinished(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (UNFINISHED.test(name)) await rm(join(dataDir, name), { recursive: true, force: true })
  }
}

async function isAbsentOrEmpty(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).length === 0
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true
    throw error
  }
}

async function readFormat(folder: string): Promise<number> {
  const text = await readText(folder, PKI_FILES.format)
  let found: unknown
  try {
    found = (JSON.parse(text) as { format?: unknown } | null)?.format
  } catch (error) {
    throw corrupt(folder, PKI_FILES.format, 'is not readable JSON', error)
  }
  if (typeof found !== 'number' || found < 1) throw corrupt(folder, PKI_FILES.format, 'names no known format')
  if (found <= PKI_FORMAT) return found
  throw new StoreError(
    'STORE_NEWER',
    `The certificate store ${folder} was written by a newer Fleetpulse (format ${found}, this one knows ${PKI_FORMAT}).`,
    { remedy: 'Start it with the newer version, or choose another data folder.' },
  )
}
