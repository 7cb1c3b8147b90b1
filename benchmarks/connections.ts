import { spawn, type ChildProcess } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { sleep, systemClock } from '../kernel/time.ts'
import { PASSPHRASE_FILE } from '../provisioning/ca/keys/passphrase.ts'
import { BenchPlatform, deviceNames } from './harness/bench-platform.ts'
import { complain, report, rounded } from './harness/figures.ts'
import { anonymousMb } from './harness/process-usage.ts'

/*
 * Memory of an idle mTLS connection: this project's and bare Aedes's, same certificates, same clients, one after the other, and whether all
 * of them are held. Options: --count 10000, --settle 10 (seconds before memory is read).
 */

const BENCH = 'connections'
const RATIO_MAX = 1.3
const KB = 1_024

const { values: options } = parseArgs({
  options: { count: { type: 'string', default: '10000' }, settle: { type: 'string', default: '10' } },
})
const count = Number(options.count)

/** A program of this folder, and the lines of JSON it says. */
class Program {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(name: string, args: readonly string[]) {
    this.child = spawn(process.execPath, [fileURLToPath(new URL(name, import.meta.url)), ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  }

  async said<T>(): Promise<T> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error('a program of the bench ended early')
    return JSON.parse(value) as T
  }
}

/** Opens all connections to a broker, waits until it has settled, and answers the memory each takes, in kB, and how many were lost. */
async function memoryPerConnection(pid: number, port: number, certs: string): Promise<{ kb: number; lost: number }> {
  const beforeMb = anonymousMb(pid)
  const clients = new Program('./idle-clients.js', ['--port', String(port), '--certs', certs])
  await clients.said<{ connected: number }>()
  await sleep(systemClock, Number(options.settle) * 1_000)
  const kb = ((anonymousMb(pid) - beforeMb) * KB) / count
  clients.child.stdin?.end()
  return { kb, lost: (await clients.said<{ lost: number }>()).lost }
}

const alive = setInterval(() => undefined, 1_000)
const platform = new BenchPlatform({
  FLEETPULSE_BROKER_CONNECTIONS_MAX: String(count + 100),
  FLEETPULSE_BROKER_CONNECT_RATE_PER_S: '100000',
  FLEETPULSE_PROVISIONING_TOKENS_MAX: String(count + 100),
})
try {
  await platform.start()
  process.stderr.write(`enrolling ${count} devices …\n`)
  await platform.enrol(deviceNames(count))
  const pki = join(platform.process.data, 'pki')
  // Bare Aedes knows nothing of keys that are encrypted in their files.
  const keyAndCert = join(platform.process.folder, 'bare-aedes.pem')
  const sealed = readFileSync(join(pki, 'server.pem'), 'utf8')
  const passphrase = readFileSync(join(platform.process.data, PASSPHRASE_FILE), 'utf8').trim()
  const key = createPrivateKey({ key: sealed, passphrase }).export({ format: 'pem', type: 'pkcs8' })
  writeFileSync(keyAndCert, key.toString() + sealed.slice(sealed.indexOf('-----BEGIN CERTIFICATE')), { mode: 0o600 })
  const aedes = new Program('./peers/bare-aedes.js', ['--key-and-cert', keyAndCert, '--ca', join(pki, 'ca.pem')])
  const { port } = await aedes.said<{ port: number }>()
  const bare = await memoryPerConnection(aedes.child.pid as number, port, platform.certs)
  aedes.child.kill()
  const ours = await memoryPerConnection(platform.pid, platform.port, platform.certs)
  report({
    bench: BENCH,
    figure: 'memory of an idle mTLS connection, bare Aedes',
    value: rounded(bare.kb, 1),
    unit: 'kB',
    connections: count,
    lost: bare.lost,
  })
  report({
    bench: BENCH,
    figure: 'memory of an idle mTLS connection',
    value: rounded(ours.kb, 1),
    unit: 'kB',
    connections: count,
    lost: ours.lost,
  })
  const ratio = ours.kb / bare.kb
  report({ bench: BENCH, figure: 'this project to bare Aedes', value: rounded(ratio), unit: 'ratio' })
  if (ratio > RATIO_MAX) complain(`a connection takes ${rounded(ratio)} times what bare Aedes takes, more than ${RATIO_MAX}`)
  if (ours.lost > 0) complain(`${ours.lost} of ${count} connections were lost`)
} finally {
  clearInterval(alive)
  await platform.remove()
}
