import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeError, StoreError } from '../kernel/errors.ts'
import { writeFileAtomically } from '../kernel/files.ts'
import { Secret } from '../kernel/secret.ts'

const TOKEN_BYTES = 32
/** A person may put a token of their own into the file: any visible characters, and at least 128 bits' worth of them. */
const TOKEN_PATTERN = /^[\x21-\x7e]{22,512}$/

/**
 * The bearer token of the first administrator, in `<data>/admin-token` (mode 0600): made on the first start, read on later ones.
 * Throws StoreError when the file holds no token or cannot be used; nothing is overwritten.
 */
export async function openAdminToken(dataDir: string): Promise<Secret> {
  const path = join(dataDir, 'admin-token')
  try {
    const stored = await readIfPresent(path)
    if (stored === undefined) {
      const token = randomBytes(TOKEN_BYTES).toString('base64url')
      await writeFileAtomically(path, `${token}\n`, 0o600)
      return new Secret(token)
    }
    const token = stored.trim()
    if (TOKEN_PATTERN.test(token)) return new Secret(token)
  } catch (error) {
    throw new StoreError('STORE_UNUSABLE', `The admin token ${path} cannot be used: ${describeError(error)}.`, {
      remedy: 'Check that the data folder belongs to this user and can be written, and start again.',
      cause: error,
    })
  }
  throw new StoreError('STORE_CORRUPT', `The file ${path} does not hold a token (22 or more visible characters on one line).`, {
    remedy: 'Restore it, or delete it and start again: a new token is made.',
  })
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
