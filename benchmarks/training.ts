import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { pumpReadings } from '../anomaly/models/testing/synthetic-fleet.ts'
import type { ModelCard } from '../contracts/model.ts'
import { describeError, InternalError } from '../kernel/errors.ts'
import { every, sleep, systemClock } from '../kernel/time.ts'
import { readDeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { DeviceConnection } from '../simulators/device-connection.ts'
import { BenchPlatform, deviceNames } from './harness/bench-platform.ts'
import { drained } from './harness/drained.ts'
import { complain, report, rounded } from './harness/figures.ts'
import { runLoad } from './harness/run-load.ts'

/*
 * What a training costs the road: PUBACK p99 of a steady load without a training and beside one, in pairs whose order alternates, because the
 * machine's speed changes. A line of JSON for each pair, and one for the medians.
 * The p50 stands beside it: the p99 of ten seconds is what the disk did in the worst tenth of one.
 * Options: --pairs 11, --seconds 5, --rate 5000, --share of a core (what the configuration has).
 */

const BENCH = 'training'
const DEVICES = 50
const PUMP_TYPE = 'pump'
const PUMPS = 4
const PUMP_ROWS = 5_000
const READINGS_PER_PUBLISH = 500
const POLL_MS = 50
/** While the load runs: asking is work for the road's process too, so it is asked as often without a training. */
const LOOK_MS = 500
const KEEP_ALIVE_S = 120
/** Beside a training the p99 may be so many times what it is without: what pairs differ by on a machine that does other things too. */
const TIMES_MAX = 1.2

const { values: options } = parseArgs({
  options: {
    pairs: { type: 'string', default: '11' },
    seconds: { type: 'string', default: '5' },
    rate: { type: 'string', default: '5000' },
    share: { type: 'string' },
  },
})
const pumps = deviceNames(PUMPS, 'pump-')
const platform = new BenchPlatform({
  ...{ FLEETPULSE_MODELS_EPOCHS_MAX: '10000', FLEETPULSE_MODELS_REFRESH_MS: '100' },
  ...(options.share === undefined ? {} : { FLEETPULSE_MODELS_TRAINING_SHARE: options.share }),
})

/** Normal readings, one a second of event time, that there is something to learn. */
async function tell(device: string, seed: number): Promise<void> {
  const bundle = await readDeviceBundle(join(platform.certs, device))
  if (bundle === undefined) throw new InternalError(`${device} has no certificate`)
  let unacked = 0
  const connection = new DeviceConnection({
    ...{ host: 'localhost', port: platform.port, device, bundle, keepAliveS: KEEP_ALIVE_S },
    onAcked: (packetIds) => void (unacked -= packetIds.length),
    onClosed: () => undefined,
  })
  await connection.open()
  const startTs = systemClock.nowMs() - PUMP_ROWS * 1_000
  const readings = pumpReadings({ device, seed, rows: PUMP_ROWS }).map(({ values }, k) => ({ ts: startTs + k * 1_000, values }))
  for (let at = 0; at < PUMP_ROWS; at += READINGS_PER_PUBLISH) {
    unacked++
    connection.publish(Buffer.from(JSON.stringify(readings.slice(at, at + READINGS_PER_PUBLISH))))
    while (unacked > 0) await sleep(systemClock, POLL_MS)
  }
  connection.close()
}

/** Trains one version after the other until it is told to end; each is cancelled then. */
class Trainings {
  #isEnding = false
  #running: Promise<void> = Promise.resolve()
  versions = 0
  epochs = 0

  /** Resolves when the first one learns. */
  async begin(): Promise<void> {
    const card = await this.#next()
    this.#running = this.#goOn(card)
  }

  async end(): Promise<void> {
    this.#isEnding = true
    await this.#running
  }

  async #goOn(card: ModelCard): Promise<void> {
    let now = card
    for (;;) {
      if (this.#isEnding && now.state === 'training') await platform.process.post(`/models/${now.id}/cancel`, {})
      now = await platform.process.get<ModelCard>(`/models/${now.id}`)
      if (now.state !== 'training' && now.state !== 'queued') {
        this.epochs += now.progress.epoch
        if (now.state === 'failed') throw new InternalError(`the training failed: ${String(now.why)}`)
        if (this.#isEnding) return
        now = await this.#next()
      }
      await sleep(systemClock, LOOK_MS)
    }
  }

  async #next(): Promise<ModelCard> {
    const { status, body } = await platform.process.post<ModelCard>('/models', { type: PUMP_TYPE, seed: this.versions++ })
    if (status !== 201) throw new InternalError(`no training: ${JSON.stringify(body)}`)
    let card = body
    while (card.state === 'queued' || card.progress.epoch === 0) {
      await sleep(systemClock, POLL_MS)
      card = await platform.process.get<ModelCard>(`/models/${card.id}`)
      if (card.state === 'failed') throw new InternalError(`the training failed: ${String(card.why)}`)
    }
    return card
  }
}

let boots = 0

interface Percentiles {
  p50: number
  p99: number
}

async function pubackOf(): Promise<Percentiles> {
  const [seconds, rate] = [Number(options.seconds), Number(options.rate)]
  const load = await runLoad({ port: platform.port, certs: platform.certs, connections: DEVICES, rate, seconds, boot: `b${boots++}` })
  const { p50, p99 } = load.pubackMs
  if (p50 === null || p99 === null || load.ackedPerS < rate / 2) throw new InternalError(`the road did not keep up: ${load.ackedPerS}/s`)
  return { p50, p99 }
}

async function pubackWithout(): Promise<Percentiles> {
  // What begins a training, and the pause that it makes, are in both.
  const before = new Trainings()
  await before.begin()
  await before.end()
  const looks = every(
    systemClock,
    LOOK_MS,
    () => platform.process.get('/models?limit=1'),
    (error) => complain(describeError(error)),
  )
  try {
    return await pubackOf()
  } finally {
    looks.cancel()
  }
}

async function pubackBesideTraining(): Promise<Percentiles & { epochs: number }> {
  const trainings = new Trainings()
  await trainings.begin()
  try {
    const puback = await pubackOf()
    await trainings.end()
    return { ...puback, epochs: trainings.epochs }
  } finally {
    await trainings.end()
  }
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

async function measure(): Promise<void> {
  const pairs: { without: Percentiles; beside: Percentiles }[] = []
  await pubackOf()
  for (let pair = 0; pair < Number(options.pairs); pair++) {
    const first = pair % 2 === 0 ? await pubackWithout() : undefined
    const beside = await pubackBesideTraining()
    const without = first ?? (await pubackWithout())
    pairs.push({ without, beside })
    report({
      bench: BENCH,
      figure: 'PUBACK p99 beside a training',
      value: beside.p99,
      unit: 'ms',
      without: without.p99,
      p50: beside.p50,
      p50Without: without.p50,
      epochs: beside.epochs,
      ratePerS: Number(options.rate),
    })
  }
  for (const percentile of ['p50', 'p99'] as const) {
    const [beside, without] = (['beside', 'without'] as const).map((which) => medianOf(pairs.map((pair) => pair[which][percentile])))
    const times = rounded((beside ?? 0) / (without ?? 0))
    const figure = `PUBACK ${percentile} beside a training, median`
    report({ bench: BENCH, figure, value: beside ?? 0, unit: 'ms', without, times, pairs: pairs.length })
    if (percentile === 'p99' && times > TIMES_MAX) complain(`beside a training PUBACK p99 is ${times} times what it is without`)
  }
}

const alive = setInterval(() => undefined, 1_000)
try {
  await platform.start()
  const made = await platform.process.post('/device-types', { id: PUMP_TYPE, metrics: {} })
  if (made.status !== 201) throw new InternalError(`no device type: ${JSON.stringify(made.body)}`)
  await platform.enrol(deviceNames(DEVICES))
  await platform.enrol(pumps, PUMP_TYPE)
  for (const [seed, device] of pumps.entries()) await tell(device, seed)
  await drained(platform, PUMPS * PUMP_ROWS)
  await measure()
} finally {
  clearInterval(alive)
  await platform.remove()
}
