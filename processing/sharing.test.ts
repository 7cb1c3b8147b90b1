import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { integerBetween, seededRandom } from '../kernel/random.ts'
import type { ReadingsWorker } from './readings-worker.ts'
import { Road, until } from './testing/road.ts'

// The platform's own timers do not keep a process alive: its sockets do, and here there are none.
const alive = setInterval(() => undefined, 1_000)
after(() => clearInterval(alive))

const PARTITIONS = 4
const DEVICES = Array.from({ length: 12 }, (_, i) => `d${i}`)

test('workers come and go: every row once and in order, every output once, and sums that add up', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? 11)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  const random = seededRandom(seed)
  const road = new Road(PARTITIONS)
  await road.start()
  const workers: ReadingsWorker[] = []
  const sent = new Map(DEVICES.map((device) => [device, [] as number[]]))
  let seq = 0
  for (let round = 0; round < 25; round++) {
    const readings = Array.from({ length: integerBetween(random, 1, 60) }, () => {
      const device = DEVICES[integerBetween(random, 0, DEVICES.length - 1)] as string
      sent.get(device)?.push(seq)
      return { device, boot: 'b', seq: seq++, ts: 1_000 + seq }
    })
    await road.append(readings)
    if (workers.length === 0 || (workers.length < 4 && integerBetween(random, 0, 2) === 0)) {
      const worker = road.worker({
        config: { checkpointMs: 100 + integerBetween(random, 0, 200), pollRecordsMax: integerBetween(random, 1, 50) },
      })
      workers.push(worker)
      await worker.start()
    } else if (workers.length > 1 && integerBetween(random, 0, 2) === 0) {
      const [leaving] = workers.splice(integerBetween(random, 0, workers.length - 1), 1)
      await leaving?.stop()
    }
    await wait(integerBetween(random, 0, 40))
  }
  await until(async () => (await road.series.count('default')) >= seq, `all rows (seed ${seed})`)
  await until(async () => (await road.storedByLedger()) === seq, `the ledger (seed ${seed})`)
  for (const worker of workers) await worker.stop()
  for (const [device, seqs] of sent) assert.deepEqual(await road.stored(device), seqs, `${device}, seed ${seed}`)
  const outputs = await road.outputs()
  for (const [device, seqs] of sent) {
    const counts = outputs.filter((output) => output.device === device).map((output) => output.count)
    assert.deepEqual(
      counts,
      Array.from({ length: Math.floor(seqs.length / 10) }, (_, i) => (i + 1) * 10),
      `outputs of ${device}, seed ${seed}`,
    )
  }
  await road.end()
})
