import { constants } from 'node:os'
import { EnvironmentError, FleetpulseError, StoreError } from '../../kernel/errors.ts'

const { errno } = constants
const MDB = { pageNotFound: -30797, corrupted: -30796, versionMismatch: -30794, invalid: -30793, mapFull: -30792 } as const

/** LMDB reports a write that the disk took only in part as EIO. */
const FULL_CODES: ReadonlySet<unknown> = new Set([errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, MDB.mapFull])
const CORRUPT_CODES: ReadonlySet<unknown> = new Set([MDB.pageNotFound, MDB.corrupted, MDB.invalid])
const UNUSABLE_CODES: ReadonlySet<unknown> = new Set([
  ...[errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG],
  ...['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST', 'ENOENT', 'ELOOP', 'ENAMETOOLONG'],
])

/** Any error of LMDB or of the file system, in our family. `directory` is the log's folder. */
export function toLogError(error: unknown, directory: string): FleetpulseError {
  if (error instanceof FleetpulseError) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (FULL_CODES.has(code) || code === 'ENOSPC' || code === 'EDQUOT') return diskFull(directory, error)
  if (CORRUPT_CODES.has(code)) {
    return new StoreError('STORE_CORRUPT', `the event log in ${directory} is damaged`, {
      remedy: 'Keep a copy of the data folder and restore it from a backup; nothing was overwritten.',
      cause: error,
    })
  }
  if (code === MDB.versionMismatch) return newer(directory, error)
  if (UNUSABLE_CODES.has(code)) {
    return new StoreError('STORE_UNUSABLE', `the folder ${directory} cannot be used for the event log`, {
      remedy: 'Make it a folder that this user may read and write, or choose another data folder.',
      cause: error,
    })
  }
  return unavailable('the event log could not be written or read', error)
}

export function diskFull(directory: string, cause?: unknown): StoreError {
  return new StoreError('STORE_FULL', `the disk or quota of ${directory} is full, the event log takes nothing`, {
    remedy: 'Free space on it, then appending works again by itself; lower retention of large topics keeps it from filling again.',
    retryable: true,
    cause,
  })
}

export function newer(directory: string, cause?: unknown): StoreError {
  return new StoreError('STORE_NEWER', `the event log in ${directory} was written by a newer version`, {
    remedy: 'Start the version of Fleetpulse that wrote this data folder, or newer; nothing was changed.',
    cause,
  })
}

export function unavailable(message: string, cause?: unknown): EnvironmentError {
  return new EnvironmentError('LOG_UNAVAILABLE', message, {
    retryable: true,
    remedy: 'Look at the log for what went wrong before; restart if it stays.',
    cause,
  })
}
