import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StoreError } from '../../kernel/errors.ts'
import { caOf, currentOf, type HeldCrl, type IssuingCa, type RootCa } from './issuing-ca.ts'
import type { Signer } from './keys/key-store.ts'
import type { KeyRef, KeyStores } from './keys/key-stores.ts'
import { codeOf, corrupt } from './pki-errors.ts'
import type { IssuerEntry, Register, RootEntry } from './register.ts'
import { readRootCrl } from './root-crl.ts'

/** The CAs as they are on disk, checked against each other. */
export interface Pki {
  folder: string
  register: Register
  roots: readonly RootCa[]
  /** Oldest first; those retired too. */
  issuers: readonly IssuingCa[]
}

/** Reads every CA of the register. Throws StoreError: damaged, missing or mismatching files, or no CA that is still valid. */
export async function loadPki(folder: string, register: Register, keys: KeyStores, nowMs: number): Promise<Pki> {
  const roots: RootCa[] = []
  for (const entry of register.roots) roots.push(await loadRoot(folder, entry, keys))
  const issuers: IssuingCa[] = []
  for (const entry of register.issuers) issuers.push(await loadIssuer(folder, entry, roots, keys))
  if (currentOf(issuers, nowMs) === undefined)
    throw expired(
      folder,
      issuers.findLast((ca) => ca.retired === null),
    )
  for (const root of roots) if (Date.parse(root.certificate.validTo) <= nowMs && roots.length === 1) throw expired(folder, root)
  return { folder, register, roots, issuers }
}

async function loadRoot(folder: string, entry: RootEntry, keys: KeyStores): Promise<RootCa> {
  const file = `${entry.id}.crt`
  const [certificate] = await readCertificates(folder, file)
  if (!certificate.ca || !certificate.verify(certificate.publicKey)) throw corrupt(folder, file, 'is not a self-signed CA certificate')
  // A key that was carried away is what makes a root an offline one.
  const isHere = entry.key !== null && (await keys.has(entry.key))
  const key = entry.key !== null && isHere ? await openKey(folder, entry.id, entry.key, certificate, keys) : undefined
  const ca = caOf(certificate)
  const crl = entry.crlNumber === 0 ? undefined : await readCrl(folder, entry, { certificate, name: ca.name })
  return { ...ca, id: entry.id, key, isOurs: entry.key !== null, crl }
}

async function readCrl(folder: string, entry: RootEntry, root: Pick<RootCa, 'certificate' | 'name'>): Promise<HeldCrl> {
  const file = `${entry.id}.crl`
  try {
    const { der, thisUpdateMs, nextUpdateMs } = readRootCrl(await readText(folder, file), root)
    return { der, number: entry.crlNumber, thisUpdateMs, nextUpdateMs }
  } catch (error) {
    throw error instanceof StoreError ? error : corrupt(folder, file, `is not a CRL of ${entry.id}.crt`, error)
  }
}

async function loadIssuer(folder: string, entry: IssuerEntry, roots: readonly RootCa[], keys: KeyStores): Promise<IssuingCa> {
  const file = `${entry.id}.crt`
  const [certificate, ...chain] = await readCertificates(folder, file)
  const root = roots.find(({ id }) => id === entry.root)
  if (root === undefined) throw corrupt(folder, 'authorities.json', `names a root "${entry.root}" that it does not list`)
  const key = await openKey(folder, entry.id, entry.key, certificate, keys)
  let below = certificate
  for (const above of [...chain, root.certificate]) {
    if (!below.ca || !below.checkIssued(above) || !below.verify(above.publicKey)) {
      throw corrupt(folder, file, `was not signed by the CA in ${root.id}.crt`)
    }
    below = above
  }
  return { ...caOf(certificate), id: entry.id, key, root, chain, issuesFromMs: entry.issuesFromMs, retired: entry.retired }
}

async function openKey(folder: string, id: string, ref: KeyRef, certificate: X509Certificate, keys: KeyStores): Promise<Signer> {
  const key = await keys.open(ref)
  if (!certificate.publicKey.equals(key.publicKey)) {
    throw corrupt(
      folder,
      ref.store === 'file' ? `${ref.name}.key` : `${id}.crt`,
      ref.store === 'file' ? 'does not belong to its certificate' : 'does not belong to its key',
    )
  }
  return key
}

export async function readText(folder: string, name: string): Promise<string> {
  try {
    return await readFile(join(folder, name), 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw corrupt(folder, name, 'is missing', error)
    throw error
  }
}

async function readCertificates(folder: string, name: string): Promise<[X509Certificate, ...X509Certificate[]]> {
  const pem = await readText(folder, name)
  try {
    return parseCertificates(pem)
  } catch (error) {
    throw corrupt(folder, name, 'is not a readable certificate', error)
  }
}

/** Every certificate of a PEM text, in its order. Throws when there is none or one cannot be read. */
export function parseCertificates(pem: string): [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  const [first, ...rest] = blocks.map((block) => new X509Certificate(block))
  if (first === undefined) throw new TypeError('there is no PEM certificate')
  return [first, ...rest]
}

function expired(folder: string, ca: { certificate: X509Certificate } | undefined): StoreError {
  const subject = ca?.certificate.subject.replaceAll('\n', ', ') ?? 'none'
  return new StoreError(
    'STORE_UNUSABLE',
    `The CA certificate "${subject}" in ${folder} expired on ${ca?.certificate.validTo ?? 'an unknown day'}.`,
    {
      remedy: 'Check the clock of this machine; if it is right, move the pki folder away, start again and enrol the devices anew.',
    },
  )
}
