import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { parseArgs } from 'node:util'
import { FleetpulseError } from '../kernel/errors.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { DeviceConnection } from '../simulators/device-connection.ts'

/*
 * Holds one mTLS connection per device folder, device after device on the next of the ports, until its input ends; the first so many devices
 * keep an HTTPS connection alive, too. Says {"connected":N,"kept":N} when all are open, and {"closed":DEVICE,"over":"mqtts"|"https","at":MS}
 * for each that ends. Options: --ports, --https-port, --https, --certs, --at-once 50.
 */

const KEEP_ALIVE_S = 1_200
const ATTEMPTS_MAX = 8
const RETRY_MS = 250

const { values: options } = parseArgs({
  options: {
    ports: { type: 'string', default: '' },
    'https-port': { type: 'string', default: '0' },
    https: { type: 'string', default: '0' },
    certs: { type: 'string', default: '' },
    'at-once': { type: 'string', default: '50' },
  },
})
const ports = options.ports.split(',').map(Number)
const keepAlive = Number(options.https)
let connected = 0
let kept = 0
let retried = 0

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

function bundleOf(device: string): { keyPem: string; certPem: string; caPem: string } {
  const read = (name: string): string => readFileSync(join(options.certs, device, name), 'utf8')
  return { keyPem: read('key.pem'), certPem: read('cert.pem'), caPem: read('ca.pem') }
}

async function hold(device: string, place: number): Promise<void> {
  const bundle = bundleOf(device)
  const connect = (): DeviceConnection =>
    new DeviceConnection({
      host: '127.0.0.1',
      port: ports[place % ports.length] ?? 0,
      device,
      bundle,
      keepAliveS: KEEP_ALIVE_S,
      onAcked: () => undefined,
      onClosed: () => isOpen && say({ closed: device, over: 'mqtts', at: systemClock.nowMs() }),
    })
  let isOpen = false
  for (let attempt = 1; !isOpen; attempt++) {
    try {
      await connect().open()
      isOpen = true
    } catch (error) {
      // As a device does: an edge that is too busy now says so (CONNACK 3).
      if (attempt >= ATTEMPTS_MAX || !(error instanceof FleetpulseError && error.retryable)) throw error
      retried++
      await sleep(systemClock, attempt * RETRY_MS)
    }
  }
  connected++
  if (place < keepAlive) await keepHttps(device, bundle)
}

/** One answered request, and the connection stays open for the next. */
function keepHttps(device: string, { keyPem: key, certPem: cert, caPem: ca }: ReturnType<typeof bundleOf>): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port: Number(options['https-port']), servername: 'localhost', key, cert, ca })
    socket.once('secureConnect', () => socket.write('GET /.well-known/est/csrattrs HTTP/1.1\r\nhost: localhost\r\n\r\n'))
    socket.once('data', () => {
      socket.resume()
      kept++
      socket.once('close', () => say({ closed: device, over: 'https', at: systemClock.nowMs() }))
      resolve()
    })
    socket.on('error', reject)
  })
}

const devices = readdirSync(options.certs).sort().entries()
async function holdNext(): Promise<void> {
  for (const [place, device] of devices) await hold(device, place)
}

await Promise.all(Array.from({ length: Number(options['at-once']) }, holdNext))
say({ connected, kept, retried })
process.stdin.resume()
process.stdin.once('end', () => process.exit())
