import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { describeError, EnvironmentError, StoreError } from '../kernel/errors.ts'

/** Tries to take over a lock whose owner is gone; more only fail when others start here over and over. */
const ATTEMPTS_MAX = 3

/** Who holds a folder: a process, told apart from another one that got its number later. */
interface Owner {
  pid: number
  /** When that process began, in a notation of the system's own; null where the system does not tell. */
  begun: string | null
}

/**
 * One process per folder. The file `lock` appears with its content in one step (it is linked, not written), names its owner, and is
 * respected for as long as that very process runs; one left by a crash is taken over.
 */
export class FolderLock {
  readonly #folder: string
  readonly #path: string
  #held = false

  constructor(folder: string) {
    this.#folder = folder
    this.#path = join(folder, 'lock')
  }

  get isHeld(): boolean {
    return this.#held
  }

  /** Throws EnvironmentError DATA_IN_USE, or StoreError STORE_UNUSABLE when the folder takes no file. */
  claim(): void {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (this.#link()) {
        this.#held = true
        return
      }
      const found = this.#read()
      if (found === undefined) continue
      const owner = ownerOf(found)
      if (owner !== undefined && isRunning(owner)) throw inUse(this.#folder, owner.pid)
      this.#removeStale(found)
    }
    throw new EnvironmentError('DATA_IN_USE', `the data folder ${this.#folder} was claimed by another process just now`, {
      remedy: 'Start again.',
    })
  }

  release(): void {
    if (!this.#held) return
    this.#held = false
    rmSync(this.#path, { force: true })
  }

  /** False when there is a lock. */
  #link(): boolean {
    const owner: Owner = { pid: process.pid, begun: begunOf(process.pid) ?? null }
    const draft = `${this.#path}.${randomBytes(6).toString('hex')}.tmp`
    try {
      writeFileSync(draft, JSON.stringify(owner), { flag: 'wx', mode: 0o600 })
      linkSync(draft, this.#path)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw this.#unusable(error)
    } finally {
      rmSync(draft, { force: true })
    }
  }

  #read(): string | undefined {
    try {
      return readFileSync(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw this.#unusable(error)
    }
  }

  /** Takes the lock away that was judged stale; if another process has put its own there meanwhile, that one is put back. */
  #removeStale(judged: string): void {
    const aside = `${this.#path}.${randomBytes(6).toString('hex')}.stale`
    try {
      renameSync(this.#path, aside)
      if (readFileSync(aside, 'utf8') !== judged) linkSync(aside, this.#path)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'EEXIST') throw this.#unusable(error)
    } finally {
      rmSync(aside, { force: true })
    }
  }

  #unusable(cause: unknown): StoreError {
    return new StoreError('STORE_UNUSABLE', `cannot write ${this.#path}: ${describeError(cause)}`, {
      cause,
      remedy: 'Make room or give this user the right to write there.',
    })
  }
}

function inUse(folder: string, pid: number): EnvironmentError {
  return new EnvironmentError('DATA_IN_USE', `the data folder ${folder} is in use by process ${pid}`, {
    remedy: 'Stop that process, or name another folder with FLEETPULSE_DATA.',
  })
}

/** Undefined for what is no lock of ours. */
function ownerOf(text: string): Owner | undefined {
  try {
    const { pid, begun } = JSON.parse(text) as Partial<Owner>
    if (typeof pid !== 'number' || !Number.isInteger(pid) || pid <= 0) return undefined
    return { pid, begun: typeof begun === 'string' ? begun : null }
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/** Does that very process still run? Numbers are used again, after a reboot and in containers at once. */
function isRunning({ pid, begun }: Owner): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  const now = begunOf(pid)
  if (now !== undefined && begun !== null) return now === begun
  // Where the system does not tell, a running process holds the lock; our own number is from an earlier life.
  return pid !== process.pid
}

/** The boot of the machine and the clock ticks from there to the start of the process (proc(5), field 22); undefined off Linux. */
function begunOf(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    // The second field is the name in brackets and may hold anything, brackets too.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return `${boot}/${fields[19] ?? ''}`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return undefined
    throw error
  }
}
