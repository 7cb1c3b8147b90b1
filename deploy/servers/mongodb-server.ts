import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { EnvironmentError } from '../../kernel/errors.ts'
import { ROOT } from '../../test/testing/repository.ts'
import { serverJars } from './jars.ts'
import { accepts } from './kafka-server.ts'
import type { LocalServer } from './local-server.ts'
import { freePort, ServerProcess } from './server-process.ts'

const HEAP = '-Xmx512m'
const LAUNCHER = join(ROOT, 'deploy', 'servers', 'MongoServer.java')

/** A server of MongoDB's wire protocol that keeps its documents in H2: a stand-in where MongoDB itself cannot run. No SCRAM, no TLS. */
export class MongodbServer implements LocalServer {
  readonly name = 'mongodb stand-in'
  readonly #folder: string
  #port: number
  #process: ServerProcess | undefined
  #starts = 0

  constructor(options: { folder: string; port?: number | undefined }) {
    this.#folder = options.folder
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
    const args = [HEAP, '-cp', `${serverJars()}/*`, LAUNCHER, String(this.#port), join(this.#folder, 'documents.mv')]
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
