import { createPublicKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PublicJwk } from '../contracts/statement.ts'
import { CHECKPOINT_FILE } from '../device-registry/audit/checkpoints.ts'
import { publicJwk, STATEMENT_PUBLIC_FILE } from '../device-registry/audit/statement-key.ts'
import { describeError, InvalidInputError } from '../kernel/errors.ts'

/** What is believed about a trail beyond what it says itself. */
export interface Trust {
  from: 'given' | 'data folder' | 'the trail itself'
  keys: readonly PublicJwk[]
}

/** Ed25519 keys from files: PEM, a JWK, or a JWK set. Throws InvalidInputError. */
export async function keysIn(paths: readonly string[]): Promise<PublicJwk[]> {
  return (await Promise.all(paths.map(keysOfFile))).flat()
}

async function keysOfFile(path: string): Promise<PublicJwk[]> {
  const text = await textOfFile(path)
  try {
    if (!text.trimStart().startsWith('{')) return [await publicJwk(createPublicKey(text))]
    const value = JSON.parse(text) as { keys?: object[] }
    return await Promise.all((value.keys ?? [value]).map((jwk) => publicJwk(createPublicKey({ key: jwk as never, format: 'jwk' }))))
  } catch (error) {
    throw new InvalidInputError(`--key: ${path} holds no Ed25519 public key (PEM, JWK or JWK set): ${describeError(error)}`, {
      cause: error,
    })
  }
}

/** Checkpoints from files: a bare JWS, or JSON lines of an export or a checkpoint file. */
export async function checkpointsIn(paths: readonly string[]): Promise<string[]> {
  return (await Promise.all(paths.map(async (path) => checkpointsOf(path, await textOfFile(path))))).flat()
}

function checkpointsOf(path: string, text: string): string[] {
  const found = text.split('\n').flatMap((line) => {
    const trimmed = line.trim()
    if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(trimmed)) return [trimmed]
    const jws = /"jws":"([\w.-]+)"/.exec(trimmed)?.[1]
    return jws === undefined ? [] : [jws]
  })
  if (found.length === 0) throw new InvalidInputError(`--checkpoint: ${path} holds no checkpoint`)
  return found
}

/** The key and the last checkpoints that lie on this machine, where they can be read. */
export async function dataFolderTrust(data: string | undefined): Promise<{ keys: PublicJwk[]; checkpoints: string[] }> {
  const folder = data ?? process.env.FLEETPULSE_DATA ?? './data'
  const [pem, lines] = await Promise.all([STATEMENT_PUBLIC_FILE, CHECKPOINT_FILE].map((name) => readIfThere(join(folder, name))))
  return {
    keys: pem === undefined ? [] : [await publicJwk(createPublicKey(pem))],
    checkpoints: lines === undefined ? [] : checkpointsOf(CHECKPOINT_FILE, lines),
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

async function textOfFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new InvalidInputError(`${path} cannot be read: ${describeError(error)}`, { cause: error })
  }
}
