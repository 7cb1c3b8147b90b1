import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './platform-process.ts'

const ALERTMANAGER = process.env.ALERTMANAGER ?? 'prometheus-alertmanager'

/** Alertmanager is no part of Node; FLEETPULSE_REQUIRE_TOOLS=1 makes its absence a failure. */
const isThere = spawnSync(ALERTMANAGER, ['--version']).status === 0

/** Why a test that needs it is skipped, or false; `untested` is what then was not tested, and is told aloud. */
export function skipWithoutAlertmanager(untested: string): string | false {
  if (isThere) return false
  console.warn(`SKIPPED: no ${ALERTMANAGER} (apt-get install prometheus-alertmanager, or set ALERTMANAGER): ${untested} was not tested`)
  return process.env.FLEETPULSE_REQUIRE_TOOLS === '1' ? false : `there is no ${ALERTMANAGER}`
}

/** Prometheus Alertmanager as a process of its own, on a free port of the loopback address, without a cluster. */
export class Alertmanager {
  /** For files that its configuration names. */
  readonly folder = mkdtempSync(join(tmpdir(), 'fleetpulse-alertmanager-'))
  #child: ChildProcess | undefined
  #said = ''
  origin = ''

  /** What it said last, for a test that waits in vain. */
  get said(): string {
    return this.#said
  }

  /** `config`: its configuration file, YAML. */
  async start(config: string): Promise<void> {
    const file = join(this.folder, 'alertmanager.yml')
    writeFileSync(file, config)
    const port = await freePort()
    this.origin = `http://127.0.0.1:${port}`
    const args = [
      `--config.file=${file}`,
      `--storage.path=${this.folder}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--cluster.listen-address=',
    ]
    const child = spawn(ALERTMANAGER, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    child.once('error', (error) => (this.#said += error.message))
    child.stderr.on('data', (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-20_000)))
    await until(
      () => `Alertmanager to be ready: ${this.#said}`,
      () =>
        fetch(`${this.origin}/-/ready`).then(
          ({ ok }) => ok,
          () => false,
        ),
    )
  }

  /** Ends it and removes its folder. */
  async remove(): Promise<void> {
    const child = this.#child
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
