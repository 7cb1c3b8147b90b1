import { fileURLToPath } from 'node:url'
import { AnomalyConfigSchema } from '../anomaly/config.ts'
import type { ModelDeviceState } from '../anomaly/models/model-device-state.ts'
import { ModelOperator, type ServedModel } from '../anomaly/models/model-operator.ts'
import { nothingObserved } from '../anomaly/models/observations.ts'
import { Scorer } from '../anomaly/models/scorer.ts'
import { pumpReadings } from '../anomaly/models/testing/synthetic-fleet.ts'
import { pumpDataset, trainedModel } from '../anomaly/models/testing/trained-model.ts'
import { runTraining } from '../anomaly/models/training/training-run.ts'
import type { LoggedReading } from '../contracts/reading.ts'
import { bytesOf } from '../kernel/byte-stream.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { compileSchema } from '../kernel/schema.ts'
import { sleep, systemClock } from '../kernel/time.ts'

/*
 * Cost of judging the metrics of 10 000 devices together, eight metrics each, one reading a second, as the road does it: readings in batches of
 * a thousand, one model, wasm. Once alone, and once beside a training. On a busy machine the CPU time is the figure to go by.
 */

const DEVICES = 10_000
const SECONDS = 20
const WARM_UP_SECONDS = 6
const BATCH_READINGS = 1_000
const TRAINING_MS = 60_000

export async function main(): Promise<void> {
  const { backend, model } = await trainedModel()
  const served: ServedModel = { scorer: new Scorer(backend, model), inShadow: false, observed: nothingObserved(8) }
  const fleet = fleetOf([served])
  await fleet.run(0, WARM_UP_SECONDS)
  report('inference, 10 000 devices of 8 metrics each second', await fleet.run(WARM_UP_SECONDS, SECONDS), served)
  const abort = new AbortController()
  const { windows } = await pumpDataset(8, 2_000)
  let epochs = 0
  const training = runTraining({
    ...{ backend: 'wasm', windows, from: null, share: 0.5, workMs: 20, nice: 19, memoryMb: 256, timeMs: TRAINING_MS, signal: abort.signal },
    options: { seed: 1, epochsMax: 100_000, patienceEpochs: 100_000 },
    calibration: { quantile: 0.995, margin: 1.5 },
    onEpoch: () => Promise.resolve(epochs++ >= 0),
  })
  while (epochs === 0) await sleep(systemClock, 20)
  report('the same beside a training', await fleet.run(WARM_UP_SECONDS + SECONDS, SECONDS), served, { epochs })
  abort.abort()
  await training
}

interface Cost {
  cpuMs: number
  elapsedMs: number
  longestBatchMs: number
  stateBytes: number
}

function fleetOf(models: readonly ServedModel[]): { run: (from: number, seconds: number) => Promise<Cost> } {
  const checked = compileSchema(AnomalyConfigSchema)({})
  if (checked.status === 'invalid') throw new TypeError('the defaults are not valid')
  const common = { clock: systemClock, log: silentLogger, metrics: new Metrics() }
  const operator = new ModelOperator({ ...common, config: checked.value, served: () => models })
  const states: ModelDeviceState[] = Array.from({ length: DEVICES }, (_, k) => operator.create('default', `d${k}`, 'pump'))
  const readings: LoggedReading[] = pumpReadings({ device: 'x', seed: 1, rows: WARM_UP_SECONDS + 2 * SECONDS, from: 700 })
  const out = { emit: () => undefined }
  const run = async (from: number, seconds: number): Promise<Cost> => {
    const cpuBefore = process.cpuUsage()
    const startedMs = systemClock.monotonicMs()
    let longestBatchMs = 0
    for (let second = from; second < from + seconds; second++) {
      const reading = readings[second]
      if (reading === undefined) break
      for (let at = 0; at < DEVICES; at += BATCH_READINGS) {
        const batchMs = systemClock.monotonicMs()
        for (let k = at; k < at + BATCH_READINGS; k++) operator.apply(states[k]!, reading, out)
        operator.finish(out)
        longestBatchMs = Math.max(longestBatchMs, systemClock.monotonicMs() - batchMs)
      }
      await sleep(systemClock, 0)
    }
    const elapsedMs = systemClock.monotonicMs() - startedMs
    const { user, system } = process.cpuUsage(cpuBefore)
    const stateBytes = bytesOf((writer) => operator.encode(states[0]!, writer)).length
    return { cpuMs: (user + system) / 1_000, elapsedMs, longestBatchMs, stateBytes }
  }
  return { run }
}

function report(figure: string, cost: Cost, { scorer }: ServedModel, more: object = {}): void {
  const rows = DEVICES * SECONDS
  const line = {
    figure,
    devices: DEVICES,
    metrics: scorer.manifest.metrics.length,
    windowRows: scorer.manifest.shape.rows,
    rowsPerSecond: Math.round((rows * 1_000) / cost.elapsedMs),
    shareOfACore: Number((cost.elapsedMs / (SECONDS * 1_000)).toFixed(3)),
    microsecondsPerRow: Number(((cost.elapsedMs * 1_000) / rows).toFixed(2)),
    cpuMicrosecondsPerRow: Number(((cost.cpuMs * 1_000) / rows).toFixed(2)),
    longestBatchMs: Number(cost.longestBatchMs.toFixed(1)),
    stateBytes: cost.stateBytes,
    ...more,
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Timers of the clock do not keep a process alive by themselves.
  const alive = setInterval(() => undefined, 1_000)
  await main()
  clearInterval(alive)
}
