import { randomBytes } from 'node:crypto'
import { open, rename, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Writes a file so that a reader or a crash sees the old content or the new, never a part; fsynced, mode set at creation. */
export async function writeFileAtomically(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const file = await open(temporary, 'wx', mode)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
