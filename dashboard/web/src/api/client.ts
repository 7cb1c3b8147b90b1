import type { Problem } from './types.ts'

const ROOT = '/api/v1'
const TIMEOUT_MS = 30_000
/** A file may take its time. */
const FILE_TIMEOUT_MS = 600_000

/** The API said no, or could not be asked. `status` is 0 when there was no answer. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly fields: { field: string; problem: string }[]

  constructor(status: number, code: string, message: string, fields: { field: string; problem: string }[] = [], options?: ErrorOptions) {
    super(message, options)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.fields = fields
  }
}

type Query = Record<string, string | number | boolean | undefined>

let onUnauthenticated: () => void = () => undefined

/** Tells who listens that the session is over. */
export function whenUnauthenticated(listener: () => void): void {
  onUnauthenticated = listener
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return request<T>('GET', path + queryText(query), undefined, signal)
}

/** `key`: repeated with the same key after a lost answer, the server does it once. */
export function post<T>(path: string, body?: object, key: string = crypto.randomUUID?.() ?? randomKey()): Promise<T> {
  return request<T>('POST', path, body, undefined, { 'idempotency-key': key })
}

/** Sends a file as it is; `type` is its media type. */
export function postFile<T>(path: string, file: Blob, type: string, query: Query = {}): Promise<T> {
  return request<T>('POST', path + queryText(query), new Blob([file], { type }))
}

export function patch<T>(path: string, body: object): Promise<T> {
  return request<T>('PATCH', path, body)
}

/** `version`: refused (412) when others changed it since. */
export function put<T>(path: string, body: object, version?: number): Promise<T> {
  return request<T>('PUT', path, body, undefined, ifMatch(version))
}

/** `version`: refused (412) when others changed it since. */
export function remove(path: string, version?: number): Promise<void> {
  return request<void>('DELETE', path, undefined, undefined, ifMatch(version))
}

function ifMatch(version: number | undefined): Record<string, string> {
  return version === undefined ? {} : { 'if-match': `"${version}"` }
}

async function request<T>(
  method: string,
  path: string,
  body?: object,
  signal?: AbortSignal,
  headers: Record<string, string> = {},
): Promise<T> {
  const isFile = body instanceof Blob
  const timeoutMs = isFile ? FILE_TIMEOUT_MS : TIMEOUT_MS
  const timeout = AbortSignal.timeout(timeoutMs)
  let response: Response
  try {
    response = await fetch(ROOT + path, {
      method,
      headers: { accept: 'application/json', ...headers, ...(body === undefined ? {} : { 'content-type': isFile ? body.type : 'application/json' }) },
      ...(body === undefined ? {} : { body: isFile ? body : JSON.stringify(body) }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      credentials: 'same-origin',
      cache: 'no-store',
    })
  } catch (error) {
    if (signal?.aborted === true) throw error
    const why = timeout.aborted ? `The platform did not answer within ${timeoutMs / 1_000} s.` : 'The platform cannot be reached.'
    throw new ApiError(0, 'UNREACHABLE', `${why} Check that it runs, then try again.`, [], { cause: error })
  }
  if (response.ok) return response.status === 204 ? (undefined as T) : ((await response.json()) as T)
  if (response.status === 401 && !(method === 'POST' && path === '/session')) onUnauthenticated()
  throw await toApiError(response)
}

async function toApiError(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as Partial<Problem>
    return new ApiError(response.status, problem.code ?? 'UNKNOWN', problem.detail ?? response.statusText, problem.errors ?? [])
  } catch (error) {
    return new ApiError(response.status, 'UNKNOWN', `The platform answered ${response.status} ${response.statusText}`, [], { cause: error })
  }
}

function queryText(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, String(value)]]))
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs).toString()}`
}

/** `crypto.randomUUID` exists in secure contexts only; `getRandomValues` everywhere. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** A sentence for people about any failure. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
