import { EnvironmentError, FleetpulseError, InternalError, StoreError, TimeoutError } from '../../kernel/errors.ts'

/**
 * DuckDB reports through Node only a message, so its trouble is told apart by the words of its own sources;
 * the tests provoke each kind on a real file, so that a changed wording is noticed.
 */
const SIGNS = {
  full: /No space left on device|File too large|Disk quota exceeded|Could not write all bytes/i,
  newer: /Trying to read a database file with version number|storage version .* newer/i,
  locked: /Could not set lock on file/i,
  corrupt: /not a valid DuckDB database file|corrupt|Could not read enough bytes|Failed to deserialize|Serialization Error|replaying WAL/i,
  unwritable: /Permission denied|Read-only file system|Cannot open file|Operation not permitted|EACCES|EROFS|ENOTDIR|EEXIST/i,
  memory: /Out of Memory Error|failed to (pin|allocate)/i,
  interrupted: /INTERRUPT Error|^Interrupted!?$/i,
  invalidated: /FATAL Error|INTERNAL Error|database has been invalidated/i,
} as const

/** True when the open database can no longer be used and must be opened anew (DuckDB invalidates it after a fatal error). */
export function isInvalidated(error: unknown): boolean {
  return SIGNS.invalidated.test(messageOf(error))
}

/** True when a checkpoint was refused only because other transactions run. */
export function isBusy(error: unknown): boolean {
  return /Cannot CHECKPOINT: there are other (write )?transactions active/i.test(messageOf(error))
}

/** True when there is nothing to roll back: DuckDB has done it already. */
export function isWithoutTransaction(error: unknown): boolean {
  return /no transaction is active/i.test(messageOf(error))
}

/** Any error of DuckDB as one of ours; `doing` completes "The series store cannot …". */
export function toStoreError(cause: unknown, doing: string, path: string): FleetpulseError {
  if (cause instanceof FleetpulseError) return cause
  const message = messageOf(cause)
  const sentence = (why: string): string => `the series store cannot ${doing}: ${why} (${path})`
  const details = { path }
  if (SIGNS.full.test(message)) {
    const remedy = 'Free space on this disk or shorten retention; nothing is lost and the same write is tried again.'
    return new StoreError('STORE_FULL', sentence('the disk is full'), { retryable: true, remedy, cause, details })
  }
  if (SIGNS.interrupted.test(message)) {
    return new TimeoutError(sentence('the query took too long'), { remedy: 'Ask for a shorter time or fewer devices.', cause, details })
  }
  if (SIGNS.newer.test(message)) {
    const remedy = 'Start the Fleetpulse version that wrote this data folder, or a newer one; nothing was changed.'
    return new StoreError('STORE_NEWER', sentence('its file is of a newer version'), { remedy, cause, details })
  }
  if (SIGNS.locked.test(message)) return lockedError(path, cause)
  if (SIGNS.corrupt.test(message)) {
    const remedy =
      'Restore the file from a backup, or move it away: readings still in the event log are stored again. Nothing was overwritten.'
    return new StoreError('STORE_CORRUPT', sentence('its file is damaged'), { remedy, cause, details })
  }
  if (SIGNS.unwritable.test(message)) {
    const remedy = 'Give the account that runs Fleetpulse read and write permission on the data folder.'
    return new EnvironmentError('STORE_UNWRITABLE', sentence('its file cannot be opened for writing'), { remedy, cause, details })
  }
  if (SIGNS.memory.test(message)) {
    const remedy = 'Ask for less at once, or raise series.memoryLimitMb.'
    return new EnvironmentError('STORE_MEMORY', sentence('its memory limit is reached'), { retryable: true, remedy, cause, details })
  }
  if (isInvalidated(cause)) {
    const remedy = 'The store opens its file anew by itself; if this repeats, look at the cause and at the disk.'
    return new StoreError('STORE_UNUSABLE', sentence('DuckDB stopped after a fatal error'), { retryable: true, remedy, cause, details })
  }
  return new InternalError(sentence('DuckDB refused a statement'), { cause, details })
}

/** The file is open elsewhere. */
export function lockedError(path: string, cause?: unknown): EnvironmentError {
  const holder = /PID (\d+)/.exec(messageOf(cause))?.[1]
  const who = holder === undefined ? 'another process' : `process ${holder}`
  return new EnvironmentError('STORE_LOCKED', `the series store is in use by ${who} (${path})`, {
    remedy: 'Stop the other Fleetpulse, or give this one its own data folder (FLEETPULSE_DATA).',
    cause,
    details: { path },
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error ?? '')
}
