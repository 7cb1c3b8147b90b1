import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock, every } from '../kernel/time.ts'
import { DeviceConnection } from '../simulators/device-connection.ts'

/*
 * Holds one idle mTLS connection per device folder until its input ends. Says {"connected":N} when all are open, and how many it lost at the
 * end. Options: --port, --certs (a folder with one folder per device), --at-once 50.
 */

const KEEP_ALIVE_S = 600
const PING_MS = 300_000

const { values: options } = parseArgs({
  options: { port: { type: 'string', default: '' }, certs: { type: 'string', default: '' }, 'at-once': { type: 'string', default: '50' } },
})
let lost = 0
const open: DeviceConnection[] = []
const devices = readdirSync(options.certs).values()

async function connectNext(): Promise<void> {
  for (const device of devices) {
    const read = (name: string): string => readFileSync(join(options.certs, device, name), 'utf8')
    const connection = new DeviceConnection({
      host: '127.0.0.1',
      port: Number(options.port),
      device,
      bundle: { keyPem: read('key.pem'), certPem: read('cert.pem'), caPem: read('ca.pem') },
      keepAliveS: KEEP_ALIVE_S,
      onAcked: () => undefined,
      onClosed: () => void lost++,
    })
    await connection.open()
    open.push(connection)
  }
}

await Promise.all(Array.from({ length: Number(options['at-once']) }, connectNext))
process.stdout.write(`${JSON.stringify({ connected: open.length })}\n`)
every(
  systemClock,
  PING_MS,
  () => open.forEach((connection) => connection.ping()),
  (error) => {
    throw error
  },
)
process.stdin.resume()
process.stdin.once('end', () => {
  process.stdout.write(`${JSON.stringify({ lost })}\n`)
  process.exit()
})
