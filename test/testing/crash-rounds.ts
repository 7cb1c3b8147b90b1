import { setTimeout as wait } from 'node:timers/promises'
import { GENERIC_TYPE } from '../../contracts/device.ts'
import { silentLogger } from '../../kernel/log.ts'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import { systemClock } from '../../kernel/time.ts'
import { enrolDevice } from '../../provisioning/doors/device-bundle.ts'
import { EstClient } from '../../provisioning/doors/est-client.ts'
import { Fleet } from '../../simulators/fleet.ts'
import { measureStored, type StoredTruth } from '../../simulators/store-check.ts'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformProcess, until } from './platform-process.ts'

export interface CrashReport extends StoredTruth {
  rounds: number
  sent: number
  acked: number
  /** Readings that were not acknowledged yet at each kill: what a device still has to send again. */
  unackedAtKill: number[]
  ledger: Record<string, number>
}

/** kill -9 at random moments under load, again and again, on one data folder; then everything acknowledged is looked for in the store. */
export async function crashRounds(options: { rounds: number; seed: number; devices: number; ratePerS: number }): Promise<CrashReport> {
  const random = seededRandom(options.seed)
  const platform = new PlatformProcess()
  const alive = setInterval(() => undefined, 1_000)
  try {
    const ready = await platform.start()
    const fleet = newFleet(platform, options, ready.https, ready.mqtts)
    await fleet.connect()
    fleet.run()
    const unackedAtKill: number[] = []
    for (let round = 0; round < options.rounds; round++) {
      await wait(integerBetween(random, 500, 2_500))
      unackedAtKill.push(fleet.totals().unacked)
      await platform.kill()
      await platform.start()
      const target = fleet.totals().acked + options.ratePerS / 4
      await until('readings to flow again', () => Promise.resolve(fleet.totals().acked > target), 60_000)
    }
    fleet.pause()
    await until('the last acknowledgements', () => Promise.resolve(fleet.totals().unacked === 0), 60_000)
    const store = {
      readings: (query: string) =>
        platform.get<{ items: { boot: string | null; seq: number | null; ts: number }[]; next: string | null }>(`/readings?${query}`),
    }
    const truth = await measureStored({ fleet, store, clock: systemClock, timeoutMs: 120_000, onProgress: () => undefined })
    const { sent, acked } = fleet.totals()
    const ledger = await until('the ledger to settle', async () => {
      const sums = await platform.get<Record<string, number>>('/ledger?summary=true')
      return sums.stored === sent && sums
    })
    fleet.stop()
    return { rounds: options.rounds, sent, acked, unackedAtKill, ledger, ...truth }
  } finally {
    clearInterval(alive)
    await platform.remove()
  }
}

function newFleet(
  platform: PlatformProcess,
  options: { devices: number; ratePerS: number; seed: number },
  https: number,
  mqtts: number,
): Fleet {
  return new Fleet({
    devices: options.devices,
    ratePerS: options.ratePerS,
    seed: options.seed,
    idPrefix: 'crash-',
    host: 'localhost',
    mqttsPort: mqtts,
    clock: systemClock,
    log: silentLogger,
    inflightMax: 100,
    enrol: async (device) => {
      const { body } = await platform.post<{ token: string }>('/enrolment-tokens', { deviceId: device, type: GENERIC_TYPE })
      const est = new EstClient({ origin: `https://localhost:${https}`, caPem: readFileSync(join(platform.data, 'pki', 'ca.pem'), 'utf8') })
      try {
        return await enrolDevice(device, (csr) => est.enrol(csr, { deviceId: device, token: body.token }))
      } finally {
        await est.close()
      }
    },
  })
}
