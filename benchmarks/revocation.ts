import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { TimeoutError } from '../kernel/errors.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { Latencies } from '../simulators/latencies.ts'
import { deviceNames } from './harness/bench-platform.ts'
import { complain, report, rounded } from './harness/figures.ts'
import { bucketQuantile } from './harness/histogram-quantile.ts'
import { ClusterWorld, EmbeddedWorld, type RevocationWorld } from './harness/revocation-worlds.ts'

/*
 * From the call that revokes a certificate to the close of its sessions, as the device sees it, with a fleet connected: one after the other at
 * a steady rate, then many at once. Nobody else may lose a connection. Options: --world cluster|embedded (default: cluster where Java and
 * Maven are), --devices 5000, --edges 3, --revoke 300, --rate 10, --at-once 50, --https 100 (devices that keep an HTTPS connection, too).
 */

const BENCH = 'revocation'
const P99_MAX_MS = 1_000
const CLOSED_WITHIN_MS = 30_000
const HISTOGRAMS = ['fleetpulse_broker_revocation_seconds', 'fleetpulse_provisioning_revocation_seconds'] as const

const { values: options } = parseArgs({
  options: {
    world: { type: 'string', default: ClusterWorld.missing() === null ? 'cluster' : 'embedded' },
    devices: { type: 'string', default: '5000' },
    edges: { type: 'string', default: '3' },
    revoke: { type: 'string', default: '300' },
    rate: { type: 'string', default: '10' },
    'at-once': { type: 'string', default: '50' },
    https: { type: 'string', default: '100' },
  },
})
const count = Number(options.devices)
const https = Number(options.https)

interface Connected {
  connected: number
  kept: number
  /** Connects that an edge put off. */
  retried: number
}

/** The connected fleet, in a process of its own, and when which of its connections ended. */
class HeldFleet {
  readonly #child
  readonly #closedAt = new Map<string, number>()
  #connected: ((sums: Connected) => void) | undefined

  constructor(world: RevocationWorld) {
    const args = ['--ports', world.ports.join(), '--https-port', String(world.httpsPort), '--https', String(https), '--certs', world.certs]
    this.#child = spawn(process.execPath, [fileURLToPath(new URL('./held-clients.js', import.meta.url)), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#take(line))
  }

  open(): Promise<Connected> {
    return new Promise((resolve, reject) => {
      this.#connected = resolve
      this.#child.once('exit', (code) => reject(new Error(`the clients ended with code ${code}`)))
    })
  }

  get closed(): number {
    return this.#closedAt.size
  }

  /** When this device's connection ended, in epoch ms. */
  async closedAt(device: string, over: string): Promise<number> {
    const untilMs = systemClock.monotonicMs() + CLOSED_WITHIN_MS
    for (;;) {
      const at = this.#closedAt.get(`${device} ${over}`)
      if (at !== undefined) return at
      if (systemClock.monotonicMs() > untilMs) throw new TimeoutError(`${device} was not closed within ${CLOSED_WITHIN_MS} ms`)
      await sleep(systemClock, 5)
    }
  }

  end(): void {
    this.#child.stdin.end()
  }

  #take(line: string): void {
    const said = JSON.parse(line) as Partial<Connected> & { closed?: string; over?: string; at?: number }
    if (said.connected !== undefined) this.#connected?.({ connected: said.connected, kept: said.kept ?? 0, retried: said.retried ?? 0 })
    else this.#closedAt.set(`${said.closed} ${said.over}`, said.at ?? 0)
  }
}

/** Revokes a device's certificate and waits for the end of its connections; each is a sample. */
async function revokeOne(world: RevocationWorld, fleet: HeldFleet, device: string, place: number, latencies: Latencies): Promise<void> {
  const serial = new X509Certificate(readFileSync(join(world.certs, device, 'cert.pem'))).serialNumber
  const calledMs = systemClock.nowMs()
  await world.revoke(serial)
  for (const over of place < https ? ['mqtts', 'https'] : ['mqtts']) latencies.add((await fleet.closedAt(device, over)) - calledMs)
}

async function steadily(
  world: RevocationWorld,
  fleet: HeldFleet,
  devices: readonly string[],
  first: number,
  latencies: Latencies,
): Promise<void> {
  const under: Promise<void>[] = []
  const startedMs = systemClock.monotonicMs()
  for (const [i, device] of devices.entries()) {
    const waitMs = startedMs + (i * 1_000) / Number(options.rate) - systemClock.monotonicMs()
    if (waitMs > 0) await sleep(systemClock, waitMs)
    under.push(revokeOne(world, fleet, device, first + i, latencies))
  }
  await Promise.all(under)
}

function tell(figure: string, latencies: Latencies, setting: object): void {
  const found = latencies.percentiles()
  report({ bench: BENCH, figure: `${figure}, p50`, value: found.p50, unit: 'ms', sessions: found.count, ...setting })
  report({ bench: BENCH, figure: `${figure}, p99`, value: found.p99, unit: 'ms', max: found.max, ...setting })
  if (found.p99 === null || found.p99 > P99_MAX_MS) complain(`${figure}: p99 is ${found.p99} ms, more than ${P99_MAX_MS} ms`)
}

async function measure(world: RevocationWorld): Promise<void> {
  const devices = deviceNames(count).sort()
  process.stderr.write(`enrolling ${count} devices …\n`)
  await world.enrol(devices)
  process.stderr.write(`connecting them to ${world.ports.length} edge(s) …\n`)
  const fleet = new HeldFleet(world)
  const setting = { world: world.name, ...(await fleet.open()) }
  try {
    const [one, many] = [Number(options.revoke), Number(options['at-once'])]
    const steady = new Latencies()
    await steadily(world, fleet, devices.slice(0, one), 0, steady)
    tell('revoke to closed session', steady, { ...setting, perS: Number(options.rate) })
    const burst = new Latencies()
    const together = devices.slice(one, one + many).entries()
    await Promise.all([...together].map(([i, device]) => revokeOne(world, fleet, device, one + i, burst)))
    tell('revoke to closed session, all at once', burst, { ...setting, atOnce: many })
    const expected = steady.percentiles().count + burst.percentiles().count
    report({ bench: BENCH, figure: 'connections of others lost', value: fleet.closed - expected, unit: 'connections', ...setting })
    if (fleet.closed !== expected) complain(`${fleet.closed - expected} connections of devices that were not revoked ended`)
    const texts = await world.metrics()
    for (const name of HISTOGRAMS) {
      const { count: observed, value } = bucketQuantile(texts, name, 0.99)
      report({ bench: BENCH, figure: `${name}, p99 at most`, value: rounded(value * 1_000), unit: 'ms', observed })
    }
  } finally {
    fleet.end()
  }
}

const alive = setInterval(() => undefined, 1_000)
const world = options.world === 'embedded' ? new EmbeddedWorld(count) : new ClusterWorld(count, Number(options.edges))
try {
  await world.start()
  await measure(world)
} finally {
  clearInterval(alive)
  await world.remove()
}
