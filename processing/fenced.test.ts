import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { ConflictError } from '../kernel/errors.ts'
import { integerBetween, seededRandom } from '../kernel/random.ts'
import type { Consumer } from '../storage/event-log/event-log.ts'
import { Road, until } from './testing/road.ts'

/*
 * Commits that come too late. Kafka gives a transaction up when it was away for longer than the transaction may take: its outputs are gone,
 * although the member holds its partitions and its next commit would succeed.
 */

// The platform's own timers do not keep a process alive: its sockets do, and here there are none.
const alive = setInterval(() => undefined, 1_000)
after(() => clearInterval(alive))

const READINGS = 3_000
const FENCED_SHARE = 0.15

test('outputs of a commit that came too late are made again, each once, whatever was applied meanwhile', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? Math.floor(performance.timeOrigin) % 100_000)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  const random = seededRandom(seed)
  const road = new Road(2)
  await road.start()
  let fencedTotal = 0
  const tooLateAtTimes = (consumer: Consumer): void => {
    const commit = consumer.commit.bind(consumer)
    consumer.commit = async (offsets, outputs = []) => {
      // The first in any case: a fast machine makes few commits of many outputs each.
      if (outputs.length === 0 || (fencedTotal > 0 && random.next() >= FENCED_SHARE)) return commit(offsets, outputs)
      fencedTotal++
      throw new ConflictError('this transaction was given up', { code: 'LOG_FENCED' })
    }
  }
  const worker = road.worker({
    config: { checkpointMs: 100, pollRecordsMax: 20, sliceReadingsMax: 3, tickMs: 100 },
    onConsumer: tooLateAtTimes,
  })
  await worker.start()
  const devices = Array.from({ length: 6 }, (_, i) => `d${i}`)
  const sent = new Map(devices.map((device) => [device, 0]))
  for (let seq = 0; seq < READINGS;) {
    const readings = Array.from({ length: integerBetween(random, 1, 120) }, () => {
      const device = devices[integerBetween(random, 0, devices.length - 1)] as string
      sent.set(device, (sent.get(device) ?? 0) + 1)
      return { device, boot: 'b', seq: seq++, ts: 1_000 + seq }
    })
    await road.append(readings)
  }
  const expected = [...sent].flatMap(([device, count]) =>
    Array.from({ length: Math.floor(count / 10) }, (_, i) => `${device} ${(i + 1) * 10}`),
  )
  await until(async () => (await road.outputs()).length >= expected.length, `every output, seed ${seed}`)
  await worker.stop()
  const outputs = (await road.outputs()).map(({ device, count }) => `${device} ${count}`)
  assert.deepEqual(outputs.sort(), expected.sort(), `seed ${seed}`)
  assert.ok(fencedTotal > 0, 'some commits came too late')
  await road.end()
})
