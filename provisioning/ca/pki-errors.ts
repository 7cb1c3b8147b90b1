import { join } from 'node:path'
import { describeError, FleetpulseError, StoreError } from '../../kernel/errors.ts'

/** Damage, said in one sentence; what is there stays as it is. */
export function corrupt(folder: string, name: string, problem: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `The file ${join(folder, name)} ${problem}.`, {
    remedy: `Restore ${name} from a backup; nothing was changed. Without a backup, move the pki folder away, start again and enrol the devices anew.`,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** What goes wrong with the folder itself, as one of our errors. */
export function toStoreError(error: unknown, folder: string): FleetpulseError {
  if (error instanceof FleetpulseError) return error
  const code = codeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StoreError('STORE_FULL', `The disk is full: ${folder} could not be written.`, {
      remedy: 'Free some space and start again.',
      cause: error,
    })
  }
  return new StoreError('STORE_UNUSABLE', `The certificate store ${folder} cannot be used: ${describeError(error)}.`, {
    remedy: 'Check that the data folder exists, belongs to this user and is not in use by another start, and start again.',
    cause: error,
  })
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
