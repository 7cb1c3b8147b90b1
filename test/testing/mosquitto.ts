import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { until } from './platform-process.ts'

const MOSQUITTO = process.env.MOSQUITTO ?? 'mosquitto'

/** Mosquitto is no part of Node; FLEETPULSE_REQUIRE_TOOLS=1 makes its absence a failure. */
export const hasMosquitto =
  process.env.FLEETPULSE_REQUIRE_TOOLS === '1' ||
  (spawnSync(MOSQUITTO, ['-h']).error === undefined && spawnSync('mosquitto_pub', ['--help']).error === undefined)

/** Mosquitto as a process of its own, on a free port and the loopback address; its sessions live as long as it does. */
export class Mosquitto {
  readonly folder = mkdtempSync(join(tmpdir(), 'mosquitto-'))
  readonly #settings: readonly string[]
  #child: ChildProcess | undefined
  port = 0

  constructor(settings: readonly string[] = ['allow_anonymous true']) {
    this.#settings = settings
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    this.port = this.port === 0 ? await freePort() : this.port
    const file = join(this.folder, 'mosquitto.conf')
    // Everything for us is kept while we are away; acknowledgements are waited for as long as it takes.
    const settings = [`listener ${this.port} 127.0.0.1`, ...this.#settings, 'max_queued_messages 0', 'log_type none']
    writeFileSync(file, `${settings.join('\n')}\n`)
    this.#child = spawn(MOSQUITTO, ['-c', file], { stdio: 'ignore' })
    await until('mosquitto to answer', () => answers(this.port))
  }

  async publish(topic: string, payload: string, qos: 0 | 1 | 2 = 1): Promise<void> {
    const args = ['-h', '127.0.0.1', '-p', String(this.port), '-V', '5', '-q', String(qos), '-t', topic, '-m', payload]
    await promisify(execFile)('mosquitto_pub', args, { timeout: 10_000 })
  }

  /** One message per line, in order. */
  async publishLines(topic: string, payloads: readonly string[], qos: 0 | 1 | 2 = 1): Promise<void> {
    const child = spawn('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(this.port), '-V', '5', '-q', String(qos), '-t', topic, '-l'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    child.stdin.end(`${payloads.join('\n')}\n`)
    await once(child, 'exit')
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const done = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })
}
