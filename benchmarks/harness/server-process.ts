import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { EnvironmentError, TimeoutError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'

const STOP_TIMEOUT_MS = 10_000
const POLL_MS = 100

/** Another program run beside the project, its output in a file. */
export class ServerProcess {
  readonly name: string
  readonly #command: string
  readonly #args: readonly string[]
  readonly #logFile: string
  #child: ChildProcess | undefined

  constructor(options: { name: string; command: string; args: readonly string[]; logFile: string }) {
    this.name = options.name
    this.#command = options.command
    this.#args = options.args
    this.#logFile = options.logFile
  }

  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new EnvironmentError('PEER_FAILED', `${this.name} does not run`)
    return pid
  }
  get log(): string {
    return readFileSync(this.#logFile, 'utf8')
  }

  /** Starts it and waits until it is ready; throws with the end of its output when it is not in time. */
  async start(isReady: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
    const file = openSync(this.#logFile, 'w')
    const child = spawn(this.#command, this.#args, { stdio: ['ignore', file, file] })
    closeSync(file)
    child.on('error', (error) => process.stderr.write(`${this.name}: ${error.message}\n`))
    this.#child = child
    const deadlineMs = systemClock.monotonicMs() + timeoutMs
    while (!(await isReady())) {
      if (child.exitCode !== null || systemClock.monotonicMs() > deadlineMs) {
        throw new TimeoutError(`${this.name} did not get ready: ${this.log.slice(-2_000)}`)
      }
      await sleep(systemClock, POLL_MS)
    }
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGTERM')
    const late = systemClock.after(STOP_TIMEOUT_MS, () => child.kill('SIGKILL'))
    await exited
    late.cancel()
  }
}

/** A TCP port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
