import assert from 'node:assert/strict'
import { spawn, execFile, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Ready, ReadyLine } from '../../app/ready.ts'
import { ApiClient } from '../../cli/api-client.ts'
import { enrolOverEst, estAddress } from '../../cli/enrol.ts'
import { writeDeviceBundle } from '../../provisioning/doors/device-bundle.ts'
import { ROOT } from './repository.ts'

/** What users run; the compiled commands behind it are those of the last build. */
const LAUNCHER = join(ROOT, 'fleetpulse')
const START_TIMEOUT_MS = 180_000
const STOP_TIMEOUT_MS = 60_000
const ANY_PORTS = {
  FLEETPULSE_MQTTS_PORT: '0',
  FLEETPULSE_WSS_PORT: '0',
  FLEETPULSE_HTTPS_PORT: '0',
  FLEETPULSE_API_PORT: '0',
  FLEETPULSE_PKI_HTTP_PORT: '0',
  FLEETPULSE_OPERATIONS_PORT: '0',
  FLEETPULSE_LOG_LEVEL: 'warn',
}

/** The platform as users run it: a process of its own in a folder of its own, on any free ports. */
export class PlatformProcess {
  readonly folder = mkdtempSync(join(tmpdir(), 'fleetpulse-'))
  readonly data: string
  readonly #env: Record<string, string>
  #child: ChildProcess | undefined
  #stderr = ''
  ready: Ready | undefined

  constructor(env: Record<string, string> = {}) {
    this.data = env.FLEETPULSE_DATA ?? join(this.folder, 'data')
    this.#env = { ...(process.env as Record<string, string>), ...ANY_PORTS, FLEETPULSE_DATA: this.data, ...env }
  }

  get stderr(): string {
    return this.#stderr
  }
  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }
  get api(): string {
    assert.ok(this.ready, 'the platform runs')
    return this.ready.api
  }
  get token(): string {
    return readFileSync(join(this.data, 'admin-token'), 'utf8').trim()
  }

  /** `through`: a program with its arguments that runs it and leaves it its place, as `strace -D` does. */
  async start(args: readonly string[] = [], through: readonly string[] = []): Promise<Ready> {
    const [program = LAUNCHER, ...rest] = [...through, LAUNCHER, 'start', '--print-ready', ...args]
    const child = spawn(program, rest, {
      env: this.#env,
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    let stdout = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (this.#stderr = (this.#stderr + chunk.toString()).slice(-20_000)))
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!stdout.includes('\n')) {
      assert.equal(child.exitCode, null, `the platform ended: ${this.#stderr}`)
      assert.ok(performance.now() < deadline, `the platform did not get ready: ${this.#stderr}`)
      await wait(20)
    }
    this.ready = JSON.parse(stdout) as Ready
    this.#keepPorts(this.ready)
    return this.ready
  }

  /** The next start listens where this one did, so that devices find it again. */
  #keepPorts(ready: ReadyLine): void {
    const { mqtts, wss, https, api, pki, operations } = ready
    const keep = (name: string, port: string | number | undefined): void => {
      if (port !== undefined) this.#env[name] = String(port)
    }
    keep('FLEETPULSE_MQTTS_PORT', mqtts)
    keep('FLEETPULSE_WSS_PORT', wss)
    keep('FLEETPULSE_HTTPS_PORT', https)
    keep('FLEETPULSE_API_PORT', portOf(api))
    keep('FLEETPULSE_PKI_HTTP_PORT', portOf(pki))
    keep('FLEETPULSE_OPERATIONS_PORT', portOf(operations))
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Stands still, as a machine that swaps or a paused container does, until `thaw`. */
  freeze(): void {
    this.#child?.kill('SIGSTOP')
  }
  thaw(): void {
    this.#child?.kill('SIGCONT')
  }

  /** SIGTERM; answers the exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  /** Stops and removes the folder. */
  async remove(): Promise<void> {
    await this.#end('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await exited
    clearTimeout(late)
    return child.exitCode
  }

  async get<T>(path: string): Promise<T> {
    const answer = await fetch(`${this.api}/api/v1${path}`, { headers: { authorization: `Bearer ${this.token}` } })
    assert.equal(answer.status, 200, `GET ${path}: ${answer.status}`)
    return (await answer.json()) as T
  }

  async post<T>(path: string, body: object): Promise<{ status: number; body: T }> {
    const answer = await fetch(`${this.api}/api/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const text = await answer.text()
    return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as T }
  }

  async delete(path: string): Promise<void> {
    const answer = await fetch(`${this.api}/api/v1${path}`, { method: 'DELETE', headers: { authorization: `Bearer ${this.token}` } })
    assert.equal(answer.status, 204, `DELETE ${path}: ${answer.status}`)
  }

  /** Runs a command of the CLI against this platform; throws when it fails. */
  async cli(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(LAUNCHER, args, { env: this.#env, cwd: this.folder, maxBuffer: 64 * 1024 ** 2 })
    return stdout
  }

  /** A device with its certificate, in a folder: key.pem, cert.pem, ca.pem. As `fleetpulse provision device` gets them, without a process for it. */
  async provision(device: string, type = 'generic'): Promise<{ folder: string; key: Buffer; cert: Buffer; ca: Buffer }> {
    const folder = join(this.folder, 'devices', device)
    const api = ApiClient.find({ data: this.data })
    try {
      await writeDeviceBundle(folder, await enrolOverEst(api, estAddress(api, {}), device, type))
    } finally {
      await api.close()
    }
    const read = (name: string): Buffer => readFileSync(join(folder, name))
    return { folder, key: read('key.pem'), cert: read('cert.pem'), ca: read('ca.pem') }
  }
}

/**
 * Waits for a condition; says what was waited for when it does not come, and with a function what was there instead. The limit only ends a wait
 * in vain: machines are slow and shared.
 */
export async function until<T>(
  what: string | (() => string),
  condition: () => Promise<T | undefined | false>,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const value = await condition()
    if (value !== undefined && value !== false) return value
    assert.ok(performance.now() < deadline, `waited ${timeoutMs} ms in vain for ${typeof what === 'string' ? what : what()}`)
    await wait(25)
  }
}

function portOf(origin: string | undefined): string | undefined {
  return origin === undefined ? undefined : new URL(origin).port
}
