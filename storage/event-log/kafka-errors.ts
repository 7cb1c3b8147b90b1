import { AuthenticationError, GenericError, MultipleErrors, ProtocolError } from '@platformatic/kafka'
import { ConflictError, EnvironmentError, FleetpulseError, InternalError, NotFoundError } from '../../kernel/errors.ts'

const ACCESS_IDS: ReadonlySet<string> = new Set([
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
  'SASL_AUTHENTICATION_FAILED',
  'UNSUPPORTED_SASL_MECHANISM',
])
/** The group went on without this member, or in another generation. */
const MEMBERSHIP_IDS = ['UNKNOWN_MEMBER_ID', 'FENCED_INSTANCE_ID', 'ILLEGAL_GENERATION', 'REBALANCE_IN_PROGRESS']
/** Another producer took over the transactional id, or Kafka gave up a transaction that took too long. */
const PRODUCER_IDS: ReadonlySet<string> = new Set([
  'INVALID_PRODUCER_EPOCH',
  'PRODUCER_FENCED',
  'INVALID_PRODUCER_ID_MAPPING',
  'INVALID_TXN_STATE',
])
const FENCED_IDS: ReadonlySet<string> = new Set([...MEMBERSHIP_IDS, ...PRODUCER_IDS])

/** Repeating changes nothing: what we ask for does not fit the brokers' settings. */
const REFUSED_IDS: ReadonlySet<string> = new Set([
  'INVALID_TOPIC_EXCEPTION',
  'INVALID_PARTITIONS',
  'INVALID_REPLICATION_FACTOR',
  'INVALID_REPLICA_ASSIGNMENT',
  'INVALID_CONFIG',
  'INVALID_REQUEST',
  'POLICY_VIOLATION',
  'UNSUPPORTED_VERSION',
  'INVALID_GROUP_ID',
  'INVALID_SESSION_TIMEOUT',
  'INCONSISTENT_GROUP_PROTOCOL',
  'GROUP_MAX_SIZE_REACHED',
  'INVALID_TRANSACTION_TIMEOUT',
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'UNSUPPORTED_COMPRESSION_TYPE',
  'INVALID_RECORD',
])

/** What a broker answered, by the protocol's own name (`NOT_LEADER_OR_FOLLOWER`); undefined when no broker answered. */
export function answeredError(error: unknown): string | undefined {
  if (error instanceof ProtocolError) return String((error as { apiId?: unknown }).apiId)
  if (error instanceof AggregateError) {
    for (const inner of error.errors) {
      const id = answeredError(inner)
      if (id !== undefined) return id
    }
  }
  return error instanceof Error && error.cause !== undefined ? answeredError(error.cause) : undefined
}

/** The parsed answer that came with an error of its parts. */
export function answerOf<T>(error: unknown): T | undefined {
  return error instanceof MultipleErrors && 'response' in error ? (error.response as T) : undefined
}

/** The numbers of a transaction's producer were refused. */
export function isProducerFenced(error: unknown): boolean {
  return PRODUCER_IDS.has(answeredError(error) ?? '')
}

/** The group is in another generation, of which the member may still be part. */
export function isOtherGeneration(error: unknown): boolean {
  const id = answeredError(error)
  return id === 'ILLEGAL_GENERATION' || id === 'REBALANCE_IN_PROGRESS'
}

/** Any error of the library, in our family. `what` could not be done, at `where`. */
export function toKafkaError(error: unknown, what: string, where: string): FleetpulseError {
  if (error instanceof FleetpulseError) return error
  const id = answeredError(error)
  if (id === 'SASL_AUTHENTICATION_FAILED' || id === 'UNSUPPORTED_SASL_MECHANISM' || isAuthenticationError(error))
    return refusedLogin(where, error)
  if (id !== undefined && ACCESS_IDS.has(id)) {
    return new EnvironmentError('LOG_ACCESS_DENIED', `Kafka at ${where} does not allow it: ${what} (${id})`, {
      remedy: 'Give the user of kafka.saslUsername the right that is missing (an ACL of the topic, group or transactional id).',
      cause: error,
    })
  }
  if (FENCED_IDS.has(id ?? '')) return fenced(`${what} (${id})`, error)
  if (id !== undefined && REFUSED_IDS.has(id)) return refused(`Kafka at ${where} refused it: ${what} (${id}${messageOf(error)})`, error)
  if (!isOfLibrary(error)) return new InternalError(`${what}: ${reasonOf(error)}`, { cause: error })
  const reason = id ?? reasonOf(error)
  return unavailable(`Kafka at ${where} is not available: ${what} (${reason})`, error)
}

export function unavailable(message: string, cause?: unknown): EnvironmentError {
  return new EnvironmentError('LOG_UNAVAILABLE', message, {
    retryable: true,
    remedy: 'Start Kafka or correct kafka.brokers (and kafka.tls, if the brokers speak TLS); it goes on by itself when Kafka answers.',
    cause,
  })
}

export function refused(message: string, cause?: unknown): EnvironmentError {
  return new EnvironmentError('LOG_REFUSED', message, {
    remedy: 'Change the named setting of section kafka, or the settings of the brokers, so that they fit.',
    cause,
  })
}

/** A commit that came too late: another member has the partitions. Nothing of it was committed, or the new owner read all of it. */
export function fenced(message: string, cause?: unknown): ConflictError {
  return new ConflictError(message, {
    code: 'LOG_FENCED',
    remedy: 'Drop what is in memory of these partitions and go on from what the group has committed: another member has them now.',
    cause,
  })
}

export function noSuchTopic(topic: string): NotFoundError {
  return new NotFoundError(`the event log has no topic ${topic}`, { remedy: 'Create it with ensureTopics first.' })
}

function refusedLogin(where: string, cause: unknown): EnvironmentError {
  return new EnvironmentError('LOG_ACCESS_DENIED', `Kafka at ${where} refused the credentials of kafka.saslUsername (password masked)`, {
    remedy: 'Correct kafka.saslMechanism, kafka.saslUsername and kafka.saslPassword.',
    cause,
  })
}

function isAuthenticationError(error: unknown): boolean {
  if (error instanceof AuthenticationError) return true
  return error instanceof Error && error.cause !== undefined && isAuthenticationError(error.cause)
}

/** Errors of sockets have a code too. */
function isOfLibrary(error: unknown): boolean {
  return error instanceof GenericError || error instanceof MultipleErrors || (error instanceof Error && 'code' in error)
}

/** What the broker says besides the error's name. */
function messageOf(error: unknown): string {
  if (error instanceof ProtocolError) {
    const { serverErrorMessage } = error as { serverErrorMessage?: unknown }
    return typeof serverErrorMessage === 'string' ? `: ${serverErrorMessage}` : ''
  }
  return error instanceof AggregateError && error.errors.length > 0 ? messageOf(error.errors[0]) : ''
}

/** The innermost message: "connect ECONNREFUSED 127.0.0.1:9092" says more than "Connection failed". */
function reasonOf(error: unknown): string {
  let current = error
  for (let depth = 0; depth < 5 && current instanceof Error && current.cause !== undefined; depth++) current = current.cause
  if (current instanceof AggregateError && current.errors.length > 0) return reasonOf(current.errors[0])
  return current instanceof Error ? current.message : String(current)
}
