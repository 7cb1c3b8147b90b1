import { randomUUID } from 'node:crypto'
import { accessSync, chmodSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describeError, StoreError } from '../kernel/errors.ts'
import { writeFileAtomically } from '../kernel/files.ts'
import { FolderLock } from './folder-lock.ts'

/** Grows when a released version can no longer read what a newer one writes; each step has a migration. */
const FORMAT_VERSION = 1

/** Where a running platform listens, for commands that look for it. */
export interface RuntimeInfo {
  pid: number
  startedAt: number
  /** What the targets of the process open; all of them with `--target=all`. */
  api?: string
  mqtts?: number
  wss?: number
  https?: number
  pki?: string
  operations?: string
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
  readonly #lock: FolderLock

  constructor(path: string) {
    this.path = resolve(path)
    this.#lock = new FolderLock(this.path)
  }

  /** Makes the folder if need be, checks format and ownership, and claims it for this process. */
  async open(): Promise<void> {
    try {
      makeFolder(this.path)
      accessSync(this.path, constants.R_OK | constants.W_OK | constants.X_OK)
    } catch (error) {
      throw unusable(this.path, error)
    }
    const isOurs = this.#checkFormat()
    // A folder that holds other things, someone's home say, keeps its mode: what is secret in ours has its own.
    if (isOurs || readdirSync(this.path).length === 0) this.#closeToOthers()
    this.#lock.claim()
    if (isOurs) return
    try {
      await writeFileAtomically(join(this.path, 'format.json'), JSON.stringify({ format: FORMAT_VERSION }))
    } catch (error) {
      this.#lock.release()
      throw unusable(this.path, error)
    }
  }

  /** Names this folder among the processes that share stores: made on the first start, the same after every later one. */
  async processId(): Promise<string> {
    const path = join(this.path, 'process-id')
    if (!existsSync(path)) await writeFileAtomically(path, randomUUID())
    return readFileSync(path, 'utf8').trim()
  }

  async publish(info: RuntimeInfo): Promise<void> {
    await writeFileAtomically(join(this.path, 'runtime.json'), JSON.stringify(info))
  }

  /** Gives the folder back, if it is ours to give. */
  close(): void {
    if (!this.#lock.isHeld) return
    rmSync(join(this.path, 'runtime.json'), { force: true })
    this.#lock.release()
  }

  #closeToOthers(): void {
    try {
      chmodSync(this.path, 0o700)
    } catch (error) {
      throw unusable(this.path, error)
    }
  }

  /** True when the folder has our format, false when it has none yet; nothing is changed. */
  #checkFormat(): boolean {
    const path = join(this.path, 'format.json')
    if (!existsSync(path)) return false
    const remedy = 'Restore the data folder from a backup; nothing was changed.'
    let format: unknown
    try {
      format = (JSON.parse(readFileSync(path, 'utf8')) as { format?: unknown } | null)?.format
    } catch (error) {
      throw new StoreError('STORE_CORRUPT', `${path} is damaged: ${describeError(error)}`, { cause: error, remedy })
    }
    if (typeof format !== 'number' || !Number.isInteger(format) || format < 1) {
      throw new StoreError('STORE_CORRUPT', `${path} does not name a format`, { remedy })
    }
    if (format > FORMAT_VERSION) {
      throw new StoreError('STORE_NEWER', `the data folder ${this.path} has format ${format}, this version knows up to ${FORMAT_VERSION}`, {
        remedy: 'Start the newer version of Fleetpulse again, or use another folder; nothing was changed.',
      })
    }
    return true
  }
}

function unusable(path: string, cause: unknown): StoreError {
  return new StoreError('STORE_UNUSABLE', `the data folder ${path} cannot be written`, {
    cause,
    remedy: 'Give this user the right to write there, make room, or name another folder with FLEETPULSE_DATA.',
  })
}

/** Reads where the platform of a data folder listens. */
export function readRuntimeInfo(dataDirectory: string): RuntimeInfo | null {
  try {
    return JSON.parse(readFileSync(join(dataDirectory, 'runtime.json'), 'utf8')) as RuntimeInfo
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new StoreError('STORE_CORRUPT', `runtime.json in ${dataDirectory} cannot be read: ${describeError(error)}`, {
      cause: error,
      remedy: 'Start the platform again, or name it with --api.',
    })
  }
}
