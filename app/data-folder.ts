import { accessSync, chmodSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { describeError, EnvironmentError, StoreError } from '../kernel/errors.ts'
import { writeFileAtomically } from '../kernel/files.ts'

/** Grows when a released version can no longer read what a newer one writes; each step has a migration. */
const FORMAT_VERSION = 1

/** Where a running platform listens, for commands that look for it. */
export interface RuntimeInfo {
  pid: number
  api: string
  mqtts: number
  wss: number
  https: number
  pki: string
  startedAt: number
}

/**
 * Makes a folder and those above it. Node's own recursive mkdir never returns where the system answers ENOENT for a name in a folder that
 * exists, as below /proc.
 */
function makeFolder(path: string): void {
  if (!existsSync(path)) {
    makeFolder(dirname(path))
    mkdirSync(path, { mode: 0o700 })
  } else if (!statSync(path).isDirectory()) throw new Error(`${path} is not a folder`)
}

/** The one folder of all state: who owns it, which format it has, where its platform listens. */
export class DataFolder {
  readonly path: string

  constructor(path: string) {
    this.path = resolve(path)
  }

  /** Makes the folder if need be, checks format and ownership, and claims it for this process. */
  async open(): Promise<void> {
    try {
      makeFolder(this.path)
      chmodSync(this.path, 0o700)
      accessSync(this.path, constants.R_OK | constants.W_OK | constants.X_OK)
    } catch (error) {
      throw new StoreError('STORE_UNUSABLE', `the data folder ${this.path} cannot be written: ${describeError(error)}`, {
        cause: error,
        remedy: 'Give this user the right to write there, or name another folder with FLEETPULSE_DATA.',
      })
    }
    await this.#checkFormat()
    await this.#claim()
  }

  async publish(info: RuntimeInfo): Promise<void> {
    await writeFileAtomically(join(this.path, 'runtime.json'), JSON.stringify(info))
  }

  /** Gives the folder back. */
  close(): void {
    rmSync(join(this.path, 'runtime.json'), { force: true })
    rmSync(join(this.path, 'lock'), { force: true })
  }

  async #checkFormat(): Promise<void> {
    const path = join(this.path, 'format.json')
    if (!existsSync(path)) {
      await writeFileAtomically(path, JSON.stringify({ format: FORMAT_VERSION }))
      return
    }
    let format: unknown
    try {
      format = (JSON.parse(readFileSync(path, 'utf8')) as { format?: unknown }).format
    } catch (error) {
      throw new StoreError('STORE_CORRUPT', `${path} is damaged: ${describeError(error)}`, { cause: error, remedy: 'Restore the data folder from a backup; nothing was changed.' })
    }
    if (typeof format !== 'number' || !Number.isInteger(format)) throw new StoreError('STORE_CORRUPT', `${path} does not name a format`, { remedy: 'Restore the data folder from a backup; nothing was changed.' })
    if (format > FORMAT_VERSION) {
      throw new StoreError('STORE_NEWER', `the data folder ${this.path} has format ${format}, this version knows up to ${FORMAT_VERSION}`, {
        remedy: 'Start the newer version of Fleetpulse again, or use another folder; nothing was changed.',
      })
    }
  }

  /** One process per folder: a lock that names a process which still runs is respected, one left by a crash is taken over. */
  async #claim(): Promise<void> {
    const path = join(this.path, 'lock')
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        const file = await open(path, 'wx', 0o600)
        await file.writeFile(String(process.pid))
        await file.close()
        return
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw new StoreError('STORE_UNUSABLE', `cannot write ${path}: ${describeError(error)}`, { cause: error, remedy: 'Make room or give this user the right to write there.' })
        const owner = Number(readFileSync(path, 'utf8'))
        if (owner !== process.pid && isFleetpulse(owner)) {
          throw new EnvironmentError('DATA_IN_USE', `the data folder ${this.path} is in use by process ${owner}`, { remedy: 'Stop that process, or name another folder with FLEETPULSE_DATA.' })
        }
        rmSync(path, { force: true })
      }
    }
    throw new EnvironmentError('DATA_IN_USE', `the data folder ${this.path} was claimed by another process just now`, { remedy: 'Start again.' })
  }
}

/** Does a process of this number run, and is it a Node process? A number is reused after a crash or a reboot. */
function isFleetpulse(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('node')
  } catch {
    return true // no /proc here: the process runs, so the lock holds
  }
}

/** Reads where the platform of a data folder listens. */
export function readRuntimeInfo(dataDirectory: string): RuntimeInfo | null {
  try {
    return JSON.parse(readFileSync(join(dataDirectory, 'runtime.json'), 'utf8')) as RuntimeInfo
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new StoreError('STORE_CORRUPT', `runtime.json in ${dataDirectory} cannot be read: ${describeError(error)}`, { cause: error, remedy: 'Start the platform again, or name it with --api.' })
  }
}
