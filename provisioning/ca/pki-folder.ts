import { createPrivateKey, randomBytes, X509Certificate, type KeyObject } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describeError, FleetpulseError, StoreError } from '../../kernel/errors.ts'
import { syncFolder } from '../../kernel/files.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Signer } from './keys/key-store.ts'
import { privateKeySigner } from './keys/private-key-signer.ts'
import { makePki, PKI_FILES, PKI_FORMAT, type PkiLifetimes } from './make-pki.ts'

/** The CAs as they are on disk, checked against each other. */
export interface Pki {
  folder: string
  root: X509Certificate
  issuing: X509Certificate
  issuingKey: Signer
}

const UNFINISHED = /^\.pki-[0-9a-f]{16}\.tmp$/

/**
 * Opens `<data>/pki`, or makes it on the first start: in a folder of its own, moved into place when complete. So a first start cut short
 * leaves no PKI rather than half of one, and the next start begins anew; keys of the cut-short one never signed anything in use.
 * Throws StoreError: STORE_CORRUPT (damaged, missing or mismatching files), STORE_NEWER, STORE_UNUSABLE, STORE_FULL. Never overwrites.
 */
export async function openPki(dataDir: string, lifetimes: PkiLifetimes, log: Logger): Promise<Pki> {
  const folder = join(dataDir, 'pki')
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await removeUnfinished(dataDir)
    if (await isAbsentOrEmpty(folder)) {
      await makeInPlace(dataDir, folder, lifetimes)
      log.info({ folder }, 'certificate authority created')
    }
    return await load(folder, lifetimes.nowMs, log)
  } catch (error) {
    throw toStoreError(error, folder)
  }
}

async function makeInPlace(dataDir: string, folder: string, lifetimes: PkiLifetimes): Promise<void> {
  const unfinished = join(dataDir, `.pki-${randomBytes(8).toString('hex')}.tmp`)
  await mkdir(unfinished, { mode: 0o700 })
  await makePki(unfinished, lifetimes)
  // Moving over a folder that has files in it fails: of two first starts at once one wins and the other says so.
  await rename(unfinished, folder)
  await syncFolder(dataDir)
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

async function load(folder: string, nowMs: number, log: Logger): Promise<Pki> {
  await checkFormat(folder)
  const root = await readCertificate(folder, PKI_FILES.rootCertificate)
  const issuing = await readCertificate(folder, PKI_FILES.issuingCertificate)
  await readKeyOf(folder, PKI_FILES.rootKey, root, log)
  const issuingKey = await readKeyOf(folder, PKI_FILES.issuingKey, issuing, log)
  if (!root.ca || !root.verify(root.publicKey)) throw corrupt(folder, PKI_FILES.rootCertificate, 'is not a self-signed CA certificate')
  if (!issuing.ca || !issuing.checkIssued(root) || !issuing.verify(root.publicKey)) {
    throw corrupt(folder, PKI_FILES.issuingCertificate, `was not signed by the CA in ${PKI_FILES.rootCertificate}`)
  }
  for (const certificate of [root, issuing]) {
    if (Date.parse(certificate.validTo) <= nowMs) {
      throw new StoreError(
        'STORE_UNUSABLE',
        `The CA certificate "${certificate.subject.replaceAll('\n', ', ')}" in ${folder} expired on ${certificate.validTo}.`,
        {
          remedy: 'Check the clock of this machine; if it is right, move the pki folder away, start again and enrol the devices anew.',
        },
      )
    }
  }
  return { folder, root, issuing, issuingKey }
}

async function checkFormat(folder: string): Promise<void> {
  const text = await readText(folder, PKI_FILES.format)
  let found: unknown
  try {
    found = (JSON.parse(text) as { format?: unknown } | null)?.format
  } catch (error) {
    throw corrupt(folder, PKI_FILES.format, 'is not readable JSON', error)
  }
  if (found === PKI_FORMAT) return
  if (typeof found !== 'number' || found < PKI_FORMAT) throw corrupt(folder, PKI_FILES.format, 'names no known format')
  throw new StoreError(
    'STORE_NEWER',
    `The certificate store ${folder} was written by a newer Fleetpulse (format ${found}, this one knows ${PKI_FORMAT}).`,
    {
      remedy: 'Start it with the newer version, or choose another data folder.',
    },
  )
}

async function readText(folder: string, name: string): Promise<string> {
  try {
    return await readFile(join(folder, name), 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw corrupt(folder, name, 'is missing', error)
    throw error
  }
}

async function readCertificate(folder: string, name: string): Promise<X509Certificate> {
  const pem = await readText(folder, name)
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw corrupt(folder, name, 'is not a readable certificate', error)
  }
}

async function readKeyOf(folder: string, name: string, certificate: X509Certificate, log: Logger): Promise<Signer> {
  const pem = await readText(folder, name)
  const { mode } = await stat(join(folder, name))
  if ((mode & 0o077) !== 0) log.warn({ file: join(folder, name) }, 'private key file can be read by other users; set its mode to 0600')
  let key: KeyObject
  let signer: Signer
  try {
    key = createPrivateKey(pem)
    signer = privateKeySigner(key)
  } catch (error) {
    throw corrupt(folder, name, 'is not a readable ECDSA or RSA private key', error)
  }
  if (!certificate.checkPrivateKey(key)) throw corrupt(folder, name, 'does not belong to its certificate')
  return signer
}

/** Damage, said in one sentence; what is there stays as it is. */
export function corrupt(folder: string, name: string, problem: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `The file ${join(folder, name)} ${problem}.`, {
    remedy: `Restore ${name} from a backup; nothing was changed. Without a backup, move the pki folder away, start again and enrol the devices anew.`,
    ...(cause === undefined ? {} : { cause }),
  })
}

function toStoreError(error: unknown, folder: string): FleetpulseError {
  if (error instanceof FleetpulseError) return error
  const code = codeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StoreError('STORE_FULL', `The disk is full: ${folder} could not be written.`, {
      remedy: 'Free some space and start again.',
      cause: error,
    })
  }
  return new StoreError('STORE_UNUSABLE', `The certificate store ${folder} cannot be used: ${describeError(error)}.`, {
    remedy: 'Check that the data folder exists, belongs to this user and is not in use by another start, and start again.',
    cause: error,
  })
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
