import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { EnvironmentError } from '../../kernel/errors.ts'
import { ROOT } from '../../test/testing/repository.ts'
import { serverJars } from './jars.ts'
import { accepts } from './kafka-server.ts'
import type { LocalServer } from './local-server.ts'
import { freePort, ServerProcess } from './server-process.ts'

const HEAP = '-Xmx512m'
/** Documents that are not read back from a file for every search: it has no secondary indexes, so a search reads the whole collection. */
const HEAP_IN_MEMORY = '-Xmx1g'
const LAUNCHER = join(ROOT, 'deploy', 'servers', 'MongoServer.java')

/** A server of MongoDB's wire protocol that keeps its documents in H2: a stand-in where MongoDB itself cannot run. No SCRAM, no TLS. */
export class MongodbServer implements LocalServer {
  readonly name = 'mongodb stand-in'
  readonly #folder: string
  readonly #inMemory: boolean
  #port: number
  #process: ServerProcess | undefined
  #starts = 0

  /** `inMemory`: for measurements, nothing survives a stop. */
  constructor(options: { folder: string; port?: number | undefined; inMemory?: boolean | undefined }) {
    this.#folder = options.folder
    this.#inMemory = options.inMemory ?? false
    this.#port = options.port ?? 0
  }

  get address(): string {
    return `mongodb://127.0.0.1:${this.#port}`
  }
  get pid(): number {
    if (this.#process === undefined) throw new EnvironmentError('SERVER_NOT_RUNNING', 'the MongoDB stand-in does not run')
    return this.#process.pid
  }

  async start(): Promise<void> {
    this.#port = this.#port === 0 ? await freePort() : this.#port
    mkdirSync(this.#folder, { recursive: true })
    const file = this.#inMemory ? [] : [join(this.#folder, 'documents.mv')]
    const heap = this.#inMemory ? HEAP_IN_MEMORY : HEAP
    const args = [heap, '-cp', `${serverJars()}/*`, LAUNCHER, String(this.#port), ...file]
    const server = new ServerProcess({
      name: this.name,
      command: 'java',
      args,
      logFile: join(this.#folder, `mongodb-${++this.#starts}.out`),
    })
    this.#process = server
    await server.start(() => accepts(this.#port))
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
  }

  /** Its store may lose what it has not written: tests stop it. */
  async kill(): Promise<void> {
    await this.#process?.kill()
  }
}
