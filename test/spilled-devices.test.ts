import assert from 'node:assert/strict'
import { after, test, type TestContext } from 'node:test'
import { AnomalyOperator } from '../anomaly/anomaly-operator.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from '../anomaly/config.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import type { ReadingOperator } from '../contracts/operator.ts'
import type { WindowResult } from '../contracts/window.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { Metrics } from '../kernel/metrics.ts'
import { systemClock } from '../kernel/time.ts'
import type { ReadingsWorker } from '../processing/readings-worker.ts'
import { defaults, Road, until } from '../processing/testing/road.ts'
import { WindowsConfigSchema, type WindowsConfig } from '../processing/windows/config.ts'
import { WindowOperator } from '../processing/windows/window-operator.ts'

// The platform's own timers do not keep a process alive: its sockets do, and here there are none.
const alive = setInterval(() => undefined, 1_000)
after(() => clearInterval(alive))

const DEVICES = Array.from({ length: 60 }, (_, i) => `d${i}`)
const MEMORY = { devicesInMemoryMax: 10, pollRecordsMax: 7, tickMs: 50 }
const SILENT_MS = 300
const WINDOW = { kind: 'tumbling' as const, sizeMs: 60_000, slideMs: 60_000 }
const START_TS = 1_700_000_040_000

/** Those of the road, which know the time: windows, and silence by a limit of the type. */
function operators(): ReadingOperator<unknown>[] {
  const metrics = new Metrics()
  const windows = { ...defaults<WindowsConfig>(WindowsConfigSchema), windows: [WINDOW], idleTimeoutMs: 200 }
  const config = defaults<AnomalyConfig>(AnomalyConfigSchema)
  return [new WindowOperator({ config: windows, metrics }), new AnomalyOperator({ config, silenceAfterMs: () => SILENT_MS, metrics })]
}

/** A road whose workers hold few devices, and what was said of the devices. */
class Fleet {
  readonly road: Road
  /** Of the latest worker. */
  metrics = new Metrics()
  readonly #workers: ReadingsWorker[] = []

  constructor(partitions = 1) {
    this.road = new Road(partitions)
  }

  async start(): Promise<this> {
    await this.road.start()
    return this
  }
  async worker(config: { devicesSpilledMax?: number } = {}): Promise<ReadingsWorker> {
    this.metrics = new Metrics()
    const worker = this.road.worker({ config: { ...MEMORY, ...config }, metrics: this.metrics, operators: operators() })
    this.#workers.push(worker)
    await worker.start()
    return worker
  }
  async sayAll(seq: number): Promise<void> {
    const receivedAt = systemClock.nowMs()
    await this.road.append(DEVICES.map((device) => ({ device, boot: 'b', seq, ts: START_TS + seq * 1_000, receivedAt })))
  }
  async raised(): Promise<Anomaly[]> {
    return (await this.#read<Anomaly>('anomalies')).filter(({ cause, phase }) => cause === 'silence' && phase === 'raised')
  }
  /** `raised` and `cleared` of each device, in their order. */
  async silences(): Promise<Map<string, string[]>> {
    const said = new Map<string, string[]>(DEVICES.map((device) => [device, []]))
    for (const { cause, device, phase } of await this.#read<Anomaly>('anomalies')) if (cause === 'silence') said.get(device)?.push(phase)
    return said
  }
  async idleWindows(): Promise<string[]> {
    const windows = await this.#read<WindowResult>('windows')
    return windows.filter(({ closedBy }) => closedBy === 'idle').map(({ device, startTs, revision }) => `${device} ${startTs} ${revision}`)
  }
  async gauge(name: string): Promise<number> {
    const family = (await this.metrics.families()).find((one) => one.name.endsWith(name))
    return family?.values[0]?.value ?? NaN
  }
  /** Each device raised its silence, and nothing twice; what came before it is `before`. */
  async allSilent(before: readonly string[] = []): Promise<void> {
    const expected = [...before, 'raised']
    await until(async () => [...(await this.silences()).values()].every((said) => said.length >= expected.length), 'every silence')
    for (const [device, said] of await this.silences()) assert.deepEqual(said, expected, device)
  }
  async end(): Promise<void> {
    for (const worker of this.#workers) await worker.stop()
    await this.road.end()
  }

  async #read<T>(topic: 'anomalies' | 'windows'): Promise<T[]> {
    const values: T[] = []
    for (const [partition, { next }] of await this.road.eventLog.bounds(topic)) {
      const records = next === 0 ? [] : await this.road.eventLog.read(topic, partition, 0, next)
      values.push(...records.map((record) => JSON.parse(utf8Text(record.value)) as T))
    }
    return values
  }
}

async function fleet(t: TestContext, partitions?: number): Promise<Fleet> {
  const started = await new Fleet(partitions).start()
  t.after(() => started.end())
  return started
}

const IDLE_ONCE = DEVICES.map((device) => `${device} ${START_TS} 1`).sort()

test('devices that do not fit in memory fall silent: each says so once, its windows close, and memory stays bounded', async (t) => {
  const all = await fleet(t)
  await all.worker()
  await all.sayAll(0)
  let most = 0
  await until(async () => {
    most = Math.max(most, await all.gauge('processing_device_states'))
    return [...(await all.silences()).values()].every((said) => said.length > 0)
  }, 'every silence')
  await all.allSilent()
  await until(async () => (await all.idleWindows()).length >= DEVICES.length, 'every idle window')
  assert.deepEqual((await all.idleWindows()).sort(), IDLE_ONCE)
  // A device that the clock touches while room is made stays for one more batch or two.
  assert.ok(most <= MEMORY.devicesInMemoryMax + 3 * MEMORY.pollRecordsMax, `${most} states were in memory`)

  await all.sayAll(1)
  await until(async () => [...(await all.silences()).values()].every((said) => said.includes('cleared')), 'every end of a silence')
  await all.allSilent(['raised', 'cleared'])
})

test('a stop and a start in between: each silence is said once, and each window closes once', async (t) => {
  const all = await fleet(t)
  const first = await all.worker()
  await all.sayAll(0)
  const saidOf = async (): Promise<number> => [...(await all.silences()).values()].filter((said) => said.length > 0).length
  await until(async () => (await saidOf()) > 15, 'more silences than fit in memory')
  await first.stop()
  await all.worker()
  await all.allSilent()
  await until(async () => (await all.idleWindows()).length >= DEVICES.length, 'every idle window')
  assert.deepEqual((await all.idleWindows()).sort(), IDLE_ONCE)
})

test('a start long after the last readings: the process does not hold its own absence against them, and then says each silence', async (t) => {
  const all = await fleet(t)
  const first = await all.worker()
  await all.sayAll(0)
  await until(async () => (await all.road.storedByLedger()) === DEVICES.length, 'all readings')
  await first.stop()
  const before = await all.silences()
  await new Promise((resolve) => setTimeout(resolve, SILENT_MS * 2))
  const startedMs = systemClock.nowMs()
  await all.worker()
  await all.allSilent()
  for (const { device, receivedAt } of await all.raised())
    if (before.get(device)?.length === 0) assert.ok(receivedAt > startedMs + SILENT_MS, `${device} was counted from before the start`)
})

test('partitions that move to another worker: each silence is said once', async (t) => {
  const all = await fleet(t, 4)
  const first = await all.worker()
  await all.sayAll(0)
  await until(async () => [...(await all.silences()).values()].filter((said) => said.length > 0).length > 15, 'some silences')
  await all.worker()
  await first.stop()
  await all.allSilent()
})

test('devices beyond the bound of those put aside are counted, and say nothing until they speak again', async (t) => {
  const all = await fleet(t)
  await all.worker({ devicesSpilledMax: 5 })
  await all.sayAll(0)
  await until(async () => (await all.gauge('processing_devices_spilled_beyond')) > 0, 'devices beyond the bound')
  assert.ok((await all.gauge('processing_devices_spilled')) <= 5)
})
