import { constants } from 'node:os'
import { FleetpulseError, StoreError } from '../../kernel/errors.ts'
import { isUnexplainedCommit } from '../lmdb-commit-cause.ts'

const { errno } = constants
const MDB = { pageNotFound: -30797, corrupted: -30796, versionMismatch: -30794, invalid: -30793, mapFull: -30792 } as const

/** LMDB reports a write that the disk took only in part as EIO. */
const FULL: ReadonlySet<unknown> = new Set([errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, MDB.mapFull, 'ENOSPC', 'EDQUOT', 'EFBIG'])
const CORRUPT: ReadonlySet<unknown> = new Set([MDB.pageNotFound, MDB.corrupted, MDB.invalid])

/** Any error of LMDB or of the file system, in our family. */
export function toStoreError(error: unknown, directory: string): FleetpulseError {
  if (error instanceof FleetpulseError) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (FULL.has(code) || isUnexplainedCommit(error)) {
    return full(directory, error)
  }
  if (CORRUPT.has(code)) return corrupt(`the documents store in ${directory} is damaged`, error)
  if (code === MDB.versionMismatch) return newer(directory, error)
  return new StoreError('STORE_UNUSABLE', `the documents store in ${directory} cannot be used`, {
    remedy: 'Make it a folder that this user may read and write, or choose another data folder.',
    cause: error,
  })
}

export function full(directory: string, cause?: unknown): StoreError {
  return new StoreError('STORE_FULL', `the documents store in ${directory} cannot grow: its disk or quota is full, or the disk fails`, {
    remedy: 'Free space on this disk; writing works again by itself, and what was stored is unharmed.',
    retryable: true,
    cause,
  })
}

export function corrupt(what: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', what, {
    remedy: 'Keep a copy of the data folder and restore it from a backup; nothing was overwritten.',
    cause,
  })
}

export function newer(directory: string, cause?: unknown): StoreError {
  return new StoreError('STORE_NEWER', `the documents store in ${directory} was written by a newer version`, {
    remedy: 'Start the version of Fleetpulse that wrote this data folder, or newer; nothing was changed.',
    cause,
  })
}
