import { EnvironmentError, FleetpulseError, InternalError, StoreError, TimeoutError, describeError } from '../../kernel/errors.ts'

/** QuestDB gives nearly all errors one code (00000), so its trouble is told apart by its words; tests provoke them on a real server. */
const SIGNS = {
  credentials: /invalid username\/password|authentication failed|Unauthorized/i,
  timeout: /timeout, query aborted|Query read timeout/i,
  full: /No space left on device|disk (is )?full|could not (extend|append|allocate|write)|errno=28\b/i,
  memory: /memory limit|out of memory|malloc/i,
  stale:
    /Invalid column|table does not exist|cached query plan|table (busy|schema)|view does not exist|could not (open|read|mmap|lock)|Metadata read timeout/i,
  gone: /Connection terminated|connection (timeout|error)|timeout (expired|exceeded)|not queryable|Cannot use a pool after|socket|other side closed/i,
} as const

const NETWORK_CODES = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ECONNABORTED'],
  ...[
    'UND_ERR_CONNECT_TIMEOUT',
    'UND_ERR_HEADERS_TIMEOUT',
    'UND_ERR_BODY_TIMEOUT',
    'UND_ERR_SOCKET',
    'UND_ERR_CLOSED',
    'UND_ERR_DESTROYED',
  ],
])

/** True when a statement failed because the shape of a table has just changed, or another process is changing it. */
export function isStale(error: unknown): boolean {
  return SIGNS.stale.test(describeError(error))
}

/** Any error on the way to QuestDB as one of ours; `doing` completes "cannot …", `address` is without credentials. */
export function toQuestdbError(cause: unknown, doing: string, address: string): FleetpulseError {
  if (cause instanceof FleetpulseError) return cause
  const message = describeError(cause)
  const server = `QuestDB at ${address}`
  const details = { address }
  if (SIGNS.credentials.test(message)) return refusedCredentials(address, cause)
  if (NETWORK_CODES.has(codeOf(cause)) || SIGNS.gone.test(message)) {
    return new StoreError('STORE_UNUSABLE', `${server} does not answer: cannot ${doing} (${message})`, {
      remedy: 'Start it, or correct questdb.httpUrl and questdb.pgUrl. It is tried again, and nothing is dropped.',
      retryable: true,
      cause,
      details,
    })
  }
  if (SIGNS.timeout.test(message)) {
    return new TimeoutError(`${server} took too long to ${doing}`, {
      remedy: 'Ask for a shorter time or fewer devices, or raise questdb.queryTimeoutMs.',
      cause,
      details,
    })
  }
  if (SIGNS.full.test(message)) {
    return new StoreError('STORE_FULL', `${server} cannot ${doing}: its disk is full`, {
      remedy: 'Free space there; writing goes on by itself, after ALTER TABLE … RESUME WAL where a table was suspended.',
      retryable: true,
      cause,
      details,
    })
  }
  if (SIGNS.memory.test(message) || SIGNS.stale.test(message)) {
    return new StoreError('STORE_UNUSABLE', `${server} cannot ${doing} just now: ${message}`, {
      remedy: 'It is tried again. If this stays, see the log of QuestDB.',
      retryable: true,
      cause,
      details,
    })
  }
  return new InternalError(`${server} refused to ${doing}: ${message}`, { cause, details })
}

/** What an answer over HTTP other than success means. */
export function httpError(status: number, body: string, address: string): FleetpulseError {
  const details = { address, status }
  if (status === 401 || status === 403) return refusedCredentials(address)
  const message = `QuestDB at ${address} refused readings (HTTP ${status}): ${messageIn(body)}`
  if (SIGNS.full.test(body)) {
    return new StoreError('STORE_FULL', message, {
      remedy: 'Free space on its disk; writing goes on by itself.',
      retryable: true,
      details,
    })
  }
  const retryable = status >= 500 || status === 408 || status === 429
  const remedy =
    status === 404
      ? 'Name the HTTP address of QuestDB in questdb.httpUrl, and do not switch line.http.enabled off.'
      : 'See the log of QuestDB; the readings wait and are sent again.'
  return new StoreError('STORE_UNUSABLE', message, { remedy, retryable, details })
}

export function stoppedError(): EnvironmentError {
  return new EnvironmentError('STORE_STOPPED', 'the series store is not running', {
    remedy: 'Start it first, or ask again after the restart.',
  })
}

function refusedCredentials(address: string, cause?: unknown): StoreError {
  return new StoreError('STORE_UNUSABLE', `QuestDB at ${address} does not accept the user and password (masked) it was given`, {
    remedy: 'Correct questdb.username and questdb.password, or what questdb.pgUrl and questdb.httpUrl carry.',
    details: { address },
    ...(cause === undefined ? {} : { cause }),
  })
}

function codeOf(error: unknown): string {
  for (let current = error; current instanceof Error; current = current.cause) {
    const { code } = current as { code?: unknown }
    if (typeof code === 'string' && code !== '00000') return code
    if (current instanceof AggregateError && current.errors.length > 0) return codeOf(current.errors[0])
  }
  return ''
}

/** The sentence inside QuestDB's JSON answer, on one line. */
function messageIn(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown }
    if (typeof message === 'string') return message.replaceAll('\n', ' ')
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return body.slice(0, 300)
}
