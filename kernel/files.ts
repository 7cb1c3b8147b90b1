import { randomBytes } from 'node:crypto'
import { link, open, rename, mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Writes a file so that a reader or a crash sees the old content or the new, never a part; fsynced (the folder too, so that the rename
 * survives power loss), mode set at creation. A failed write leaves nothing behind.
 */
export async function writeFileAtomically(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  await written(path, content, mode, (temporary) => rename(temporary, path))
}

/** As `writeFileAtomically`, but never over a file that is there: of several threads that make it at once, all find the same afterwards. */
export async function createFileOnce(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  await written(path, content, mode, async (temporary) => {
    try {
      await link(temporary, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    await rm(temporary, { force: true })
  })
}

async function written(
  path: string,
  content: string | Uint8Array,
  mode: number,
  place: (temporary: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await place(temporary)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(folder)
}

/** Makes renames and new files in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
