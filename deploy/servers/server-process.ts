import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { dirname } from 'node:path'
import { EnvironmentError, TimeoutError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'

const START_TIMEOUT_MS = 90_000
const STOP_TIMEOUT_MS = 15_000
const POLL_MS = 100
const LOG_SHOWN_CHARACTERS = 2_000

export interface ServerCommand {
  name: string
  command: string
  args: readonly string[]
  env?: Readonly<Record<string, string>>
  /** Its output goes here, behind what is there already. */
  logFile: string
}

/** Another program run beside the project, its output in a file. */
export class ServerProcess {
  readonly #options: ServerCommand
  #child: ChildProcess | undefined

  constructor(options: ServerCommand) {
    this.#options = options
  }

  get name(): string {
    return this.#options.name
  }
  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new EnvironmentError('SERVER_NOT_RUNNING', `${this.name} does not run`)
    return pid
  }
  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }
  get log(): string {
    return readFileSync(this.#options.logFile, 'utf8')
  }

  /** Starts it and waits until it is ready; throws with the end of its output when it is not in time. */
  async start(isReady: () => boolean | Promise<boolean>, timeoutMs = START_TIMEOUT_MS): Promise<void> {
    const { command, args, env, logFile } = this.#options
    mkdirSync(dirname(logFile), { recursive: true })
    const file = openSync(logFile, 'a')
    const child = spawn(command, args, { stdio: ['ignore', file, file], env: { ...process.env, ...env } })
    closeSync(file)
    let failure: Error | undefined
    child.on('error', (error) => (failure = error))
    this.#child = child
    const deadlineMs = systemClock.monotonicMs() + timeoutMs
    while (!(await isReady())) {
      if (failure !== undefined) throw new EnvironmentError('SERVER_NOT_STARTED', `${this.name}: ${failure.message}`, { cause: failure })
      if (!this.isRunning || systemClock.monotonicMs() > deadlineMs) {
        throw new TimeoutError(`${this.name} did not get ready: ${this.log.slice(-LOG_SHOWN_CHARACTERS)}`)
      }
      await sleep(systemClock, POLL_MS)
    }
  }

  /** SIGTERM, and SIGKILL when that takes too long. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || !this.isRunning) return
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill(signal)
    const late = systemClock.after(STOP_TIMEOUT_MS, () => child.kill('SIGKILL'))
    await exited
    late.cancel()
  }
}

/** A TCP port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
