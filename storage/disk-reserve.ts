import { statfsSync, type StatsFs } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { every, systemClock, type Timer } from '../kernel/time.ts'

export interface DiskReserveOptions {
  /** Any folder on the disk. */
  directory: string
  /** Room that must be left, in bytes; 0 switches this off. */
  reserveBytes: number
  /** How often the room is looked at, in ms. */
  checkMs: number
  log: Logger
}

/**
 * Tells an LMDB store to refuse writes while the disk has less room than a reserve. LMDB must not meet a full disk itself: the library
 * (3.5.6, `mdb_page_flush`) writes its message about a failed write beyond the memory it took for it, which may end the process.
 */
export class DiskReserve {
  readonly #options: DiskReserveOptions
  #isShort = false
  #timer: Timer | undefined

  constructor(options: DiskReserveOptions) {
    this.#options = options
  }

  /** Looks at once, and then again and again. */
  start(): void {
    const { directory, reserveBytes, checkMs, log } = this.#options
    if (reserveBytes === 0 || this.#timer !== undefined) return
    this.#note(statfsSync(directory))
    this.#timer = every(
      // A disk fills in real time, whatever clock a test runs on.
      systemClock,
      checkMs,
      async () => this.#note(await statfs(directory)),
      (error) => log.error({ directory, error: describeError(error) }, 'the room on the disk could not be looked at'),
    )
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Is there less room than the reserve? */
  get isShort(): boolean {
    return this.#isShort
  }

  #note({ bavail, bsize }: StatsFs): void {
    const { directory, reserveBytes, log } = this.#options
    const freeBytes = bavail * bsize
    const isShort = freeBytes < reserveBytes
    if (isShort === this.#isShort) return
    this.#isShort = isShort
    if (isShort) log.error({ directory, freeBytes, reserveBytes }, 'the disk is nearly full: nothing more is written until there is room')
    else log.info({ directory, freeBytes }, 'the disk has room again')
  }
}
