import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { GENERIC_TYPE } from '../contracts/device.ts'
import { systemClock } from '../kernel/time.ts'
import { newDeviceRequest } from '../provisioning/doors/device-bundle.ts'
import { EstClient } from '../provisioning/doors/est-client.ts'
import { BenchPlatform, deviceNames } from './harness/bench-platform.ts'
import { complain, report, rounded } from './harness/figures.ts'
import { cpuSeconds } from './harness/process-usage.ts'

/*
 * Enrolment of a fleet over EST simpleenroll with one-time tokens: how many a second, and how long each device waits, TLS handshake
 * included, since every device has a connection of its own. Keys, requests and tokens are made before. Generator and platform share the
 * machine. Options: --count 10000, --at-once 16.
 */

const BENCH = 'enrolment'
const TOKENS_AT_ONCE = 16

const { values: options } = parseArgs({
  options: { count: { type: 'string', default: '10000' }, 'at-once': { type: 'string', default: '16' } },
})
const count = Number(options.count)
const atOnce = Number(options['at-once'])

interface Ready {
  deviceId: string
  token: string
  csrPem: string
}

/** Runs `work` over all of `inputs`, so many at once. */
async function forAll<T>(inputs: Iterable<T>, workers: number, work: (input: T) => Promise<void>): Promise<void> {
  const waiting = inputs[Symbol.iterator]()
  const next = async (): Promise<void> => {
    for (let entry = waiting.next(); entry.done !== true; entry = waiting.next()) await work(entry.value)
  }
  await Promise.all(Array.from({ length: workers }, next))
}

const alive = setInterval(() => undefined, 1_000)
const platform = new BenchPlatform({ FLEETPULSE_PROVISIONING_TOKENS_MAX: String(count + 100) })
try {
  await platform.start()
  const { process: running } = platform
  process.stderr.write(`making ${count} keys and tokens …\n`)
  const devices: Ready[] = []
  await forAll(deviceNames(count, 'enrol-'), TOKENS_AT_ONCE, async (deviceId) => {
    const { body } = await running.post<{ token: string }>('/enrolment-tokens', { deviceId, type: GENERIC_TYPE })
    devices.push({ deviceId, token: body.token, csrPem: (await newDeviceRequest(deviceId)).csrPem })
  })
  const caPem = readFileSync(join(running.data, 'pki', 'ca.pem'), 'utf8')
  const origin = `https://localhost:${running.ready?.https}`
  const tookMs: number[] = []
  let failed = 0
  const startedMs = systemClock.monotonicMs()
  const cpuBeforeS = cpuSeconds(platform.pid)
  await forAll(devices, atOnce, async ({ deviceId, token, csrPem }) => {
    const est = new EstClient({ origin, caPem })
    const fromMs = systemClock.monotonicMs()
    try {
      await est.enrol(csrPem, { deviceId, token })
      tookMs.push(systemClock.monotonicMs() - fromMs)
    } catch (error) {
      if (failed++ === 0) process.stderr.write(`the first that failed: ${String(error)}\n`)
    } finally {
      await est.close()
    }
  })
  if (!running.isRunning) complain(`the platform ended: ${running.stderr}`)
  const cpuMs = (cpuSeconds(platform.pid) - cpuBeforeS) * 1_000
  const seconds = (systemClock.monotonicMs() - startedMs) / 1_000
  tookMs.sort((a, b) => a - b)
  const quantile = (q: number): number => rounded(tookMs[Math.min(tookMs.length - 1, Math.floor(tookMs.length * q))] ?? Number.NaN, 1)
  const common = { bench: BENCH, devices: count, atOnce, failed }
  report({ ...common, figure: 'devices enrolled over EST', value: rounded(tookMs.length / seconds, 0), unit: '/s' })
  report({ ...common, figure: 'processor time of the platform per enrolment', value: rounded(cpuMs / tookMs.length, 1), unit: 'ms' })
  report({ ...common, figure: 'EST enrolment, handshake included, p50', value: quantile(0.5), unit: 'ms' })
  report({ ...common, figure: 'EST enrolment, handshake included, p99', value: quantile(0.99), unit: 'ms' })
  if (failed > 0 || tookMs.length !== count) complain(`${count - tookMs.length} of ${count} devices did not enrol`)
} finally {
  await platform.remove()
  clearInterval(alive)
}
