import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { Agent, request, type Dispatcher } from 'undici'
import { WebSocket } from 'ws'
import { readRuntimeInfo, type RuntimeInfo } from '../app/data-folder.ts'
import type { PublicJwk } from '../contracts/statement.ts'
import { AccessError, ConflictError, describeError, EnvironmentError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'

/** Options shared by commands that need the running platform. */
export interface PlatformOptions {
  /** Data folder of the platform; `FLEETPULSE_DATA` or ./data. */
  data?: string
  /** Origin of its API, instead of looking into the data folder. */
  api?: string
}

interface Content {
  type: string
  bytes: string | Uint8Array | Readable
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

const TIMEOUT_MS = 30_000
/** Longest wait for the answer to a file, in ms. */
const FILE_TIMEOUT_MS = 600_000

/** A client of the operator API, with the token from `FLEETPULSE_TOKEN` or else `<data>/admin-token`. */
export class ApiClient {
  readonly origin: string
  readonly dataDirectory: string
  readonly runtime: RuntimeInfo | null
  readonly #token: string
  readonly #agent = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS })

  private constructor(origin: string, token: string, dataDirectory: string, runtime: RuntimeInfo | null) {
    this.origin = origin
    this.#token = token
    this.dataDirectory = dataDirectory
    this.runtime = runtime
  }

  static find(options: PlatformOptions): ApiClient {
    const dataDirectory = options.data ?? process.env.FLEETPULSE_DATA ?? './data'
    const runtime = readRuntimeInfo(dataDirectory)
    const origin = options.api ?? runtime?.api
    if (origin === undefined) {
      throw new EnvironmentError('PLATFORM_UNREACHABLE', `no platform runs in the data folder ${dataDirectory}`, {
        remedy: 'Start it with `fleetpulse start`, or name it with --api URL (and FLEETPULSE_TOKEN).',
      })
    }
    return new ApiClient(origin.replace(/\/$/, ''), readToken(dataDirectory), dataDirectory, runtime)
  }

  async get<T>(path: string): Promise<T> {
    return this.#send<T>('GET', path)
  }
  /** An answer that is a file. */
  async file(path: string): Promise<Uint8Array> {
    return (await this.#open('GET', path)).bytes()
  }
  /** The public keys that this platform signs with. */
  async signingKeys(): Promise<PublicJwk[]> {
    const body = await this.#open('GET', '/.well-known/jwks.json', undefined, undefined, '')
    return ((await body.json()) as { keys: PublicJwk[] }).keys
  }
  async post<T>(path: string, body: object): Promise<T> {
    return this.#send<T>('POST', path, { type: 'application/json', bytes: JSON.stringify(body) })
  }
  /** With a version: ConflictError when it is another one by now. */
  async put<T>(path: string, body: object, version: number): Promise<T> {
    return this.#send<T>('PUT', path, { type: 'application/json', bytes: JSON.stringify(body) }, version)
  }
  async delete(path: string, version: number): Promise<void> {
    await this.#send('DELETE', path, undefined, version)
  }
  /** A body that is no JSON. The answer may take long. */
  async postFile<T>(path: string, bytes: Uint8Array | Readable, type: string): Promise<T> {
    return this.#send<T>('POST', path, { type, bytes })
  }
  /** The lines of an answer, as they come in. */
  async *lines(path: string): AsyncGenerator<string> {
    const body = await this.#open('GET', path)
    yield* createInterface({ input: body, crlfDelay: Infinity })
  }
  /** A WebSocket of the API; listen to it at once. A handshake that is refused rejects `whenOpen` with why. */
  socket(path: string): { socket: WebSocket; whenOpen: Promise<void> } {
    const address = `${this.origin.replace(/^http/, 'ws')}/api/v1${path}`
    const socket = new WebSocket(address, {
      headers: { authorization: `Bearer ${this.#token}` },
      handshakeTimeout: TIMEOUT_MS,
      perMessageDeflate: false,
    })
    const whenOpen = new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', (error) => reject(this.#unreachable(error)))
      socket.once('unexpected-response', (_request, answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
        answer.once('close', () => {
          socket.terminate()
          reject(refusal(answer.statusCode ?? 500, text))
        })
      })
    })
    return { socket, whenOpen }
  }
  close(): Promise<void> {
    return this.#agent.close()
  }

  async #send<T>(method: Method, path: string, body?: Content, version?: number): Promise<T> {
    const text = await (await this.#open(method, path, body, version)).text()
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  /** The body of an answer that is no refusal. */
  async #open(
    method: Method,
    path: string,
    body?: Content,
    version?: number,
    prefix = '/api/v1',
  ): Promise<Dispatcher.ResponseData['body']> {
    let answer
    try {
      answer = await request(`${this.origin}${prefix}${path}`, {
        method,
        dispatcher: this.#agent,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(body === undefined ? {} : { 'content-type': body.type }),
          ...(version === undefined ? {} : { 'if-match': `"${version}"` }),
        },
        ...(body === undefined ? {} : { body: body.bytes }),
        ...(body === undefined || body.type === 'application/json' ? {} : { headersTimeout: FILE_TIMEOUT_MS }),
      })
    } catch (error) {
      throw this.#unreachable(error)
    }
    if (answer.statusCode < 300) return answer.body
    throw refusal(answer.statusCode, await answer.body.text())
  }

  #unreachable(error: unknown): EnvironmentError {
    return new EnvironmentError('PLATFORM_UNREACHABLE', `the platform at ${this.origin} does not answer: ${describeError(error)}`, {
      cause: error,
      retryable: true,
      remedy: 'Start it with `fleetpulse start`, or name another one with --api URL.',
    })
  }
}

function refusal(status: number, text: string): Error {
  const detail = problemDetail(text)
  if (status === 401)
    return new AccessError('UNAUTHENTICATED', detail, { remedy: 'Set FLEETPULSE_TOKEN, or name the data folder that holds admin-token.' })
  if (status === 403) return new AccessError('FORBIDDEN', detail)
  if (status === 404) return new NotFoundError(detail)
  if (status === 409 || status === 412) return new ConflictError(detail)
  if (status < 500) return new InvalidInputError(detail)
  return new EnvironmentError('PLATFORM_FAILED', `the platform answered ${status}: ${detail}`, { retryable: true })
}

function problemDetail(text: string): string {
  try {
    const problem = JSON.parse(text) as { detail?: string; title?: string }
    return problem.detail ?? problem.title ?? text.slice(0, 500)
  } catch {
    return text.slice(0, 500) // not a problem document: shown as it is
  }
}

function readToken(dataDirectory: string): string {
  const fromEnvironment = process.env.FLEETPULSE_TOKEN
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
  const path = join(dataDirectory, 'admin-token')
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new AccessError('UNAUTHENTICATED', `no token: ${path} cannot be read`, {
      cause: error,
      remedy: 'Set FLEETPULSE_TOKEN, or name the data folder with --data.',
    })
  }
}
