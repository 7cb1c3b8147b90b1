import {
  BSON,
  MongoBulkWriteError,
  MongoClientClosedError,
  MongoCompatibilityError,
  MongoError,
  MongoErrorLabel,
  MongoNetworkError,
  MongoNotConnectedError,
  MongoOperationTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
} from 'mongodb'
import { FleetpulseError, InvalidInputError, StoreError } from '../../kernel/errors.ts'

/** Names of the server's error codes, as in its error_codes.yml. */
export const CODES = {
  badValue: 2,
  failedToParse: 9,
  unauthorized: 13,
  authenticationFailed: 18,
  namespaceNotFound: 26,
  indexNotFound: 27,
  indexOptionsConflict: 85,
  cannotIndexParallelArrays: 171,
  duplicateKey: 11_000,
} as const

const RETRYABLE: ReadonlySet<unknown> = new Set([
  ...[6, 7, 89, 9_001], // host not reached or found, network timeout, socket exception
  ...[91, 189, 10_107, 11_600, 11_602, 13_435, 13_436], // shutting down, stepped down, not primary, interrupted
  ...[43, 50, 64, 79, 100, 112, 134, 262], // cursor gone, out of time, write concern not reached, write conflict, majority not yet known
])
const FULL: ReadonlySet<unknown> = new Set([14_031, 12_501])
const ACCESS: ReadonlySet<unknown> = new Set([CODES.unauthorized, CODES.authenticationFailed, 8_000])
const REGEX_INVALID = 51_091
const INVALID: ReadonlySet<unknown> = new Set([
  CODES.badValue,
  CODES.failedToParse,
  CODES.cannotIndexParallelArrays,
  14,
  REGEX_INVALID,
  10_334,
])

/** Where the server is, as errors may say it: password masked. */
export interface ServerName {
  address: string
  database: string
}

/** Any error of the driver or the server, in our family. Its cause is the innermost one: the driver repeats that at every level. */
export function toStoreError(error: unknown, name: ServerName): FleetpulseError {
  if (error instanceof FleetpulseError) return error
  // The driver wraps whatever ends a batch as a whole.
  if (error instanceof MongoBulkWriteError && error.errorResponse instanceof Error) return toStoreError(error.errorResponse, name)
  const code = error instanceof MongoServerError ? error.code : undefined
  const cause = innermost(error)
  const server = `MongoDB at ${name.address}`
  if (cause instanceof MongoCompatibilityError) return tooOld(name, cause)
  if (ACCESS.has(code)) return refused(code === CODES.unauthorized, name, cause)
  if (FULL.has(code)) {
    return new StoreError('STORE_FULL', `${server} cannot store more: its disk or quota is full`, {
      remedy: 'Free space there; writing works again by itself, and what was stored is unharmed.',
      retryable: true,
      cause,
    })
  }
  if (INVALID.has(code) || error instanceof BSON.BSONError) return new InvalidInputError(`${server} refuses what it was asked`, { cause })
  if (error instanceof MongoTopologyClosedError || error instanceof MongoNotConnectedError || error instanceof MongoClientClosedError) {
    return new StoreError('STORE_UNUSABLE', `the connection to ${server} was closed`, {
      remedy: 'Use it between its start and its stop.',
      cause,
    })
  }
  if (mayPass(error)) {
    return new StoreError('STORE_UNUSABLE', `${server} does not answer as it should`, {
      remedy: 'Start it, or correct mongodb.url; what was acknowledged is stored.',
      retryable: true,
      cause,
    })
  }
  return new StoreError('STORE_UNUSABLE', `${server} cannot be used`, { remedy: "Correct mongodb.url, or see MongoDB's own log.", cause })
}

function refused(rightsAreMissing: boolean, { address, database }: ServerName, cause: unknown): StoreError {
  const how = rightsAreMissing ? `allows this user too little in database ${database}` : 'does not accept this user and password'
  return new StoreError('STORE_UNUSABLE', `MongoDB at ${address} ${how}`, {
    remedy: `Correct user and password in mongodb.url (and its authSource), and give the user the role readWrite on ${database}.`,
    cause,
  })
}

export function tooOld({ address }: ServerName, cause: unknown): StoreError {
  return new StoreError('STORE_UNUSABLE', `MongoDB at ${address} is older than 6.0, which is needed`, {
    remedy: 'Upgrade it to MongoDB 6.0 or newer, or name another server in mongodb.url.',
    cause,
  })
}

function innermost(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? innermost(error.cause) : error
}

/** Does waiting help? */
function mayPass(error: unknown): boolean {
  if (error instanceof MongoServerSelectionError || error instanceof MongoNetworkError || error instanceof MongoOperationTimeoutError)
    return true
  if (!(error instanceof MongoError)) return false
  if (error instanceof MongoServerError && RETRYABLE.has(error.code)) return true
  return error.hasErrorLabel(MongoErrorLabel.RetryableWriteError) || error.hasErrorLabel(MongoErrorLabel.RetryableError)
}
