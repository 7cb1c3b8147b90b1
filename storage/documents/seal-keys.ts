import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { ConfigError, describeError, StoreError } from '../../kernel/errors.ts'
import { createFileOnce } from '../../kernel/files.ts'
import type { DocumentsConfig } from './config.ts'
import { SEAL_KEY_BYTES } from './sealer.ts'

/** In the data folder; outside `documents`, so that a copy of that folder alone opens nothing. */
export const SEAL_KEYS_FILE = 'seal-keys'

export interface SealKeySources {
  config: Pick<DocumentsConfig, 'sealKeys' | 'sealKeysFile'>
  /** Path of the file that is made where nothing is configured; null: none is made nor read, for other processes would not have it. */
  ownFile: string | null
}

/**
 * What seals (first) and opens: the keys configured, and those of the own file, where there is one. Throws ConfigError or StoreError
 * STORE_UNUSABLE for what is no key or cannot be read; neither shows it.
 */
export async function findSealKeys({ config, ownFile }: SealKeySources): Promise<KeyObject[]> {
  const keys = keysOf(config.sealKeys, (place) => {
    throw new ConfigError([{ key: 'documents.sealKeys', problem: `key ${place} is none`, allowed: ALLOWED }])
  })
  if (config.sealKeysFile !== '') keys.push(...(await keysIn(config.sealKeysFile)))
  if (ownFile === null) return keys
  if (keys.length === 0) await createFileOnce(ownFile, `${randomBytes(SEAL_KEY_BYTES).toString('base64')}\n`)
  return [...keys, ...(await keysIn(ownFile, keys.length > 0))]
}

const ALLOWED = `${SEAL_KEY_BYTES} random bytes as base64 or hex, for instance from: openssl rand -base64 ${SEAL_KEY_BYTES}`

async function keysIn(path: string, mayMiss = false): Promise<KeyObject[]> {
  const unusable = (problem: string, cause?: unknown): StoreError =>
    new StoreError('STORE_UNUSABLE', `The keys in ${path}, which seal documents, ${problem}.`, {
      remedy: `Restore the file from a backup; each line is ${ALLOWED}. Nothing was changed.`,
      cause,
    })
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (mayMiss && (error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw unusable(`cannot be read: ${describeError(error)}`, error)
  }
  const keys = keysOf(text, (place) => {
    throw unusable(`are damaged: key ${place} is none`)
  })
  if (keys.length === 0) throw unusable('are gone: the file is empty')
  return keys
}

function keysOf(text: string, refuse: (place: number) => never): KeyObject[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== '')
  return words.map((word, i) => {
    const bytes = Buffer.from(word, /^[0-9a-f]{64}$/i.test(word) ? 'hex' : 'base64')
    return bytes.length === SEAL_KEY_BYTES && /^[\w+/-]+={0,2}$/.test(word) ? createSecretKey(bytes) : refuse(i + 1)
  })
}
