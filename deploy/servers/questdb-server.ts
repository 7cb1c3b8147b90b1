import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { EnvironmentError } from '../../kernel/errors.ts'
import { jarNamed } from './jars.ts'
import type { LocalServer } from './local-server.ts'
import { freePort, ServerProcess } from './server-process.ts'

const HEAP = '-Xmx1g'

/** QuestDB with its HTTP server (ILP, SQL) and the PostgreSQL wire protocol. */
export class QuestdbServer implements LocalServer {
  readonly name = 'questdb'
  readonly #folder: string
  #httpPort: number
  #pgPort: number
  #process: ServerProcess | undefined
  #starts = 0

  constructor(options: { folder: string; httpPort?: number | undefined; pgPort?: number | undefined }) {
    this.#folder = options.folder
    this.#httpPort = options.httpPort ?? 0
    this.#pgPort = options.pgPort ?? 0
  }

  /** HTTP. */
  get address(): string {
    return `http://127.0.0.1:${this.#httpPort}`
  }
  /** As QuestDB comes: user admin, password quest, database qdb. */
  get pgAddress(): string {
    return `postgres://admin:quest@127.0.0.1:${this.#pgPort}/qdb`
  }
  get pid(): number {
    if (this.#process === undefined) throw new EnvironmentError('SERVER_NOT_RUNNING', 'questdb does not run')
    return this.#process.pid
  }

  async start(): Promise<void> {
    this.#httpPort = this.#httpPort === 0 ? await freePort() : this.#httpPort
    this.#pgPort = this.#pgPort === 0 ? await freePort() : this.#pgPort
    const root = join(this.#folder, 'root')
    mkdirSync(root, { recursive: true })
    const logFile = join(this.#folder, `questdb-${++this.#starts}.out`)
    const env = {
      QDB_HTTP_BIND_TO: `127.0.0.1:${this.#httpPort}`,
      QDB_HTTP_MIN_NET_ENABLED: 'false',
      QDB_HTTP_MIN_ENABLED: 'false',
      QDB_PG_NET_BIND_TO: `127.0.0.1:${this.#pgPort}`,
      QDB_LINE_TCP_ENABLED: 'false',
      QDB_TELEMETRY_ENABLED: 'false',
    }
    const args = [HEAP, '-cp', jarNamed('questdb-'), 'io.questdb.ServerMain', '-d', root]
    this.#process = new ServerProcess({ name: this.name, command: 'java', args, env, logFile })
    await this.#process.start(() => this.#answers())
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
  }

  async kill(): Promise<void> {
    await this.#process?.kill()
  }

  async #answers(): Promise<boolean> {
    try {
      return (await fetch(`${this.address}/exec?query=${encodeURIComponent('select 1')}`)).ok
    } catch (error) {
      if (error instanceof TypeError) return false // it does not listen yet
      throw error
    }
  }
}
