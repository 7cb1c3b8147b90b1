import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { after, test } from 'node:test'
import { GENERIC_TYPE } from '../contracts/device.ts'
import { silentLogger } from '../kernel/log.ts'
import { systemClock } from '../kernel/time.ts'
import { enrolDevice } from '../provisioning/doors/device-bundle.ts'
import { EstClient } from '../provisioning/doors/est-client.ts'
import { Fleet } from '../simulators/fleet.ts'
import { measureStored, type StoredItem } from '../simulators/store-check.ts'
import { compareWindows, DISORDER } from './testing/chaos.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * The disk of the embedded engines fills while devices publish, and gets room again: a small file system of its own, filled by a file beside
 * the platform's.
 */

const SEED = Number(process.env.TEST_SEED ?? 20_261_121)
const DEVICES = 10
const RATE_PER_S = 400
const DISK_MIB = 192
const MIB = 1_048_576
const ROUNDS = 2
/** Room that is left first: less than the log keeps free, more than the documents do. */
const LITTLE_BYTES = 12 * MIB
const WINDOW_SIZE_MS = 2_000
/** Longer than an acknowledgement ever takes on a slow machine: nothing in that time means that none comes. */
const STILL_MS = 2_000

const disk = mkdtempSync(join(tmpdir(), 'fleetpulse-disk-'))
const filler = join(disk, 'filler')
const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'fleetpulse', disk]).status === 0
if (!isMounted && process.env.FLEETPULSE_REQUIRE_TOOLS === '1') throw new Error('a tmpfs cannot be mounted here')

const platform = new PlatformProcess({
  FLEETPULSE_DATA: join(disk, 'data'),
  FLEETPULSE_EVENT_LOG_DISK_RESERVE_BYTES: String(16 * MIB),
  FLEETPULSE_DOCUMENTS_DISK_RESERVE_BYTES: String(8 * MIB),
  FLEETPULSE_WINDOWS_WINDOWS: JSON.stringify([{ kind: 'tumbling', sizeMs: WINDOW_SIZE_MS, slideMs: WINDOW_SIZE_MS }]),
  FLEETPULSE_WINDOWS_IDLE_TIMEOUT_MS: '600000',
  FLEETPULSE_WINDOWS_OUT_OF_ORDERNESS_MS: '0',
})
const alive = setInterval(() => undefined, 1_000)
let fleet: Fleet | undefined
after(async () => {
  clearInterval(alive)
  fleet?.stop()
  await platform.remove()
  if (isMounted) execFileSync('umount', ['--lazy', disk])
  rmSync(disk, { recursive: true, force: true })
})

test(
  'a disk that fills: nothing is acknowledged that is not stored, and all goes on by itself when there is room',
  { skip: isMounted ? false : 'a tmpfs cannot be mounted (it takes root): a full disk was NOT tested' },
  async (t) => {
    const { https, mqtts } = await platform.start()
    fleet = new Fleet({
      devices: DEVICES,
      ratePerS: RATE_PER_S,
      seed: SEED,
      idPrefix: 'full-',
      host: 'localhost',
      mqttsPort: mqtts,
      clock: systemClock,
      log: silentLogger,
      inflightMax: 50,
      disorder: DISORDER,
      enrol: (device) => enrol(device, https),
    })
    await fleet.connect()
    fleet.run()
    for (let round = 1; round <= ROUNDS; round++) {
      await flow(fleet)
      fill(LITTLE_BYTES)
      const acked = await stillness(fleet)
      assert.ok(platform.isRunning, platform.stderr)
      const trouble = await until('/readyz to say that it is not ready', async () => {
        const answer = await fetch(`${platform.api}/readyz`)
        return answer.status === 503 && answer.text()
      })
      t.diagnostic(`round ${round}: no acknowledgement after ${acked}, not ready: ${trouble}`)
      fill(0)
      await stillness(fleet)
      assert.ok(platform.isRunning, platform.stderr)
      rmSync(filler)
    }
    await flow(fleet)
    await wait(WINDOW_SIZE_MS * 2)
    fleet.pause()
    const devices = fleet
    await until('the last acknowledgements', () => Promise.resolve(devices.totals().unacked === 0), 60_000)
    const ledger = await until('the ledger to settle', async () => {
      const sums = await platform.get<Record<string, number>>('/ledger?summary=true')
      return sums.stored === devices.totals().sent && sums
    })
    const store = { readings: (query: string) => platform.get<{ items: StoredItem[]; next: string | null }>(`/readings?${query}`) }
    const truth = await measureStored({ fleet, store, clock: systemClock, timeoutMs: 120_000, onProgress: () => undefined })
    const windows = await compareWindows(
      platform,
      fleet.devices.slice(0, 3).map(({ id }) => id),
      WINDOW_SIZE_MS,
    )
    t.diagnostic(JSON.stringify({ ...fleet.totals(), ...truth, ...windows, ledger }))
    assert.deepEqual(truth, { lost: 0, duplicated: 0, outOfOrder: 0 }, `seed ${SEED}`)
    assert.equal(ledger.acked, (ledger.stored ?? 0) + (ledger.rejected ?? 0) + (ledger.duplicate ?? 0))
    assert.deepEqual(windows.windowFaults, [], `seed ${SEED}`)
    assert.ok(windows.windowsChecked > 0, 'windows were compared')
  },
)

/** Lengthens a file until only so much room is left. */
function fill(leaveBytes: number): void {
  const chunk = Buffer.alloc(MIB / 4)
  for (;;) {
    const { bavail, bsize } = statfsSync(disk)
    const sizeBytes = Math.min(chunk.length, bavail * bsize - leaveBytes)
    if (sizeBytes <= 0) return
    try {
      appendFileSync(filler, chunk.subarray(0, sizeBytes))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return
      throw error
    }
  }
}

/** Resolves when readings are acknowledged. */
async function flow(devices: Fleet): Promise<void> {
  const target = devices.totals().acked + RATE_PER_S * 2
  await until('readings to flow', () => Promise.resolve(devices.totals().acked >= target), 60_000)
}

/** Resolves when no reading was acknowledged for a while; answers how many were. */
async function stillness(devices: Fleet): Promise<number> {
  let acked = -1
  let since = performance.now()
  return until(
    'acknowledgements to end',
    () => {
      if (devices.totals().acked !== acked) {
        acked = devices.totals().acked
        since = performance.now()
      }
      return Promise.resolve(performance.now() - since > STILL_MS && acked)
    },
    60_000,
  )
}

async function enrol(device: string, https: number) {
  const { body } = await platform.post<{ token: string }>('/enrolment-tokens', { deviceId: device, type: GENERIC_TYPE })
  const est = new EstClient({ origin: `https://localhost:${https}`, caPem: readFileSync(join(platform.data, 'pki', 'ca.pem'), 'utf8') })
  try {
    return await enrolDevice(device, (csr) => est.enrol(csr, { deviceId: device, token: body.token }))
  } finally {
    await est.close()
  }
}
