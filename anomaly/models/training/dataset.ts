import { createHash } from 'node:crypto'
import type { ModelDataset } from '../../../contracts/model.ts'
import { InvalidInputError } from '../../../kernel/errors.ts'
import { newWindow, numberOf, takeReading, type WindowSpec } from '../device-window.ts'
import { bytesOfFloats } from '../model-file.ts'
import { widthOf, type NetworkShape } from '../network.ts'
import { decilesOf, sharesOf } from '../observations.ts'
import { quantileOf, scaleOf, type MetricScale } from '../scaling.ts'
import type { DatasetRequest, DatasetSources } from './dataset-sources.ts'
import { drawnDevices, readDevices, SEGMENTS, type Piece } from './normal-readings.ts'
import type { Pace } from './pace.ts'
import type { TrainingWindows } from './training.ts'

export interface BuiltDataset {
  readonly windows: TrainingWindows
  readonly scales: MetricScale[]
  /** How the figures of each metric were spread. */
  readonly spreads: { deciles: number[]; shares: number[] }[]
  readonly gapMs: number
  readonly dataset: ModelDataset
}

/** Of these the last are held out: a fifth. */
const JUDGE_SEGMENTS = 3
const DAY_MS = 86_400_000
/** A metric belongs to a type when so many of the readings' devices send it. */
const COVERAGE_MIN = 0.9
/** Windows end at a gap of so many usual intervals. */
const GAP_INTERVALS = 10
const METRICS_MIN = 2

/**
 * Reads what is normal for a type out of the series store: of some devices, from every part of the time, without what was confirmed to be
 * abnormal, and without anomalies that nobody judged. The same store, labels and seed give the same dataset. Throws InvalidInputError
 * MODEL_UNTRAINABLE, with what is missing.
 */
export async function buildDataset(request: DatasetRequest, sources: DatasetSources): Promise<BuiltDataset> {
  const { tenant, type, config, nowMs, pace } = request
  const devices = await drawnDevices(request, sources)
  if (devices.length === 0) throw untrainable(`there is no device of type ${type}`)
  const positions = Object.fromEntries([...(await sources.series.positions())].map(([partition, offset]) => [String(partition), offset]))
  const labels = await sources.labelsOf(tenant, type)
  const fromTs = nowMs - config.trainingDays * DAY_MS
  const read = await readDevices(request, sources, devices, labels, fromTs)
  const metrics = metricsOf(read.pieces, config.metricsMax)
  if (metrics.length < METRICS_MIN)
    throw untrainable(`the devices of type ${type} have ${metrics.length} metrics of numbers in common, ${METRICS_MIN} are needed`)
  const range = timesOf(read.pieces)
  const judgeFromTs = range.fromTs + Math.floor(((SEGMENTS - JUDGE_SEGMENTS) / SEGMENTS) * (range.toTs - range.fromTs))
  const scales: MetricScale[] = []
  for (const name of metrics) {
    await pace.rest()
    scales.push(scaleOf(name, valuesOf(read.pieces, name, judgeFromTs)))
  }
  const gapMs = GAP_INTERVALS * Math.max(config.everyMs, usualIntervalMs(read.pieces))
  const shape = shapeFor(metrics.length, config.windowRows)
  const spec: WindowSpec = { shape, metrics: scales.map(bare), everyMs: config.everyMs, gapMs, version: 0 }
  const made = await windowsOf(read.pieces, spec, judgeFromTs, pace)
  const learnRows = made.windows.learn.length / widthOf(shape)
  const judgeRows = made.windows.judge.length / widthOf(shape)
  if (learnRows < config.trainingRowsMin || judgeRows < config.trainingRowsMin / SEGMENTS)
    throw untrainable(
      `${learnRows} windows of normal readings to learn and ${judgeRows} to judge by, of at least ${config.trainingRowsMin} in all`,
    )
  const dataset: ModelDataset = {
    ...{
      id: '',
      fromTs: range.fromTs,
      toTs: range.toTs + 1,
      readAt: nowMs,
      positions,
      devices: made.devices,
      metrics,
      learnRows,
      judgeRows,
      judgeFromTs,
    },
    labels: labels.map(({ id }) => id),
    ...{ excluded: read.excluded, excludedRows: read.excludedRows },
    sha256: createHash('sha256').update(bytesOfFloats(made.windows.learn)).update(bytesOfFloats(made.windows.judge)).digest('hex'),
  }
  return {
    windows: made.windows,
    scales,
    spreads: await spreadsOf(made.windows, pace),
    gapMs,
    dataset: { ...dataset, id: dataset.sha256.slice(0, 16) },
  }
}

/** A middle of as many figures as there are metrics: what lasts through a window goes through it once, and hidden metrics must come from the others. */
export function shapeFor(metrics: number, rows: number): NetworkShape {
  return { metrics, rows, hidden: Math.min(64, Math.max(8, 3 * metrics)), middle: metrics }
}

/** Metrics of numbers that nearly every device sends; where there are too many, the most common ones. */
function metricsOf(pieces: readonly Piece[], metricsMax: number): string[] {
  const devices = new Map<string, Set<string>>()
  for (const { device, readings } of pieces) {
    for (const { values } of readings) {
      for (const [name, value] of Object.entries(values)) {
        if (numberOf(value) === undefined) continue
        let of = devices.get(name)
        if (of === undefined) devices.set(name, (of = new Set()))
        of.add(device)
      }
    }
  }
  const all = new Set(pieces.map(({ device }) => device)).size
  const common = [...devices].filter(([, of]) => of.size >= COVERAGE_MIN * all)
  common.sort(([a, ofA], [b, ofB]) => ofB.size - ofA.size || (a < b ? -1 : 1))
  return common
    .slice(0, metricsMax)
    .map(([name]) => name)
    .sort()
}

function timesOf(pieces: readonly Piece[]): { fromTs: number; toTs: number } {
  let fromTs = Number.POSITIVE_INFINITY
  let toTs = Number.NEGATIVE_INFINITY
  for (const { readings } of pieces) {
    fromTs = Math.min(fromTs, readings[0]?.ts ?? fromTs)
    toTs = Math.max(toTs, readings.at(-1)?.ts ?? toTs)
  }
  return { fromTs, toTs }
}

/** Scales come from what is learnt; the readings that are held out tell nothing of them. */
function valuesOf(pieces: readonly Piece[], name: string, beforeTs: number): Float64Array {
  const values: number[] = []
  for (const { readings } of pieces) {
    for (const reading of readings) {
      const value = numberOf(reading.values[name])
      if (value !== undefined && reading.ts < beforeTs) values.push(value)
    }
  }
  return Float64Array.from(values)
}

function usualIntervalMs(pieces: readonly Piece[]): number {
  const gaps: number[] = []
  for (const { readings } of pieces) for (let k = 1; k < readings.length; k++) gaps.push(readings[k]!.ts - readings[k - 1]!.ts)
  return Math.ceil(quantileOf(Float64Array.from(gaps).sort(), 0.5))
}

const bare = (scale: MetricScale): WindowSpec['metrics'][number] => ({ ...scale, usual: 1, deciles: [], shares: [] })

/** Exactly the windows that would be judged on the road. */
async function windowsOf(
  pieces: readonly Piece[],
  spec: WindowSpec,
  judgeFromTs: number,
  pace: Pace,
): Promise<{ windows: TrainingWindows; devices: ModelDataset['devices'] }> {
  const learn: Float32Array[] = []
  const judge: Float32Array[] = []
  const devices = new Map<string, ModelDataset['devices'][number]>()
  for (const { device, readings } of pieces) {
    await pace.rest()
    let window = newWindow(spec)
    let isLater = false
    for (const reading of readings) {
      // A window that is judged by has no reading in it that was learnt.
      if (!isLater && reading.ts >= judgeFromTs) {
        isLater = true
        window = newWindow(spec)
      }
      if (!takeReading(window, spec, reading)) continue
      ;(isLater ? judge : learn).push(window.figures.slice())
      const of = devices.get(device) ?? { device, rows: 0, fromTs: reading.ts, toTs: reading.ts }
      devices.set(device, { ...of, rows: of.rows + 1, fromTs: Math.min(of.fromTs, reading.ts), toTs: Math.max(of.toTs, reading.ts) })
    }
  }
  return { windows: { shape: spec.shape, learn: joined(learn), judge: joined(judge) }, devices: [...devices.values()] }
}

function joined(windows: readonly Float32Array[]): Float32Array {
  const width = windows[0]?.length ?? 0
  const all = new Float32Array(windows.length * width)
  windows.forEach((window, k) => all.set(window, k * width))
  return all
}

async function spreadsOf({ learn, shape }: TrainingWindows, pace: Pace): Promise<BuiltDataset['spreads']> {
  const width = widthOf(shape)
  const spreads: BuiltDataset['spreads'] = []
  for (let metric = 0; metric < shape.metrics; metric++) {
    await pace.rest()
    const figures = new Float64Array(learn.length / width)
    for (let row = 0; row < figures.length; row++) figures[row] = learn[(row + 1) * width - shape.metrics + metric]!
    const deciles = decilesOf(figures)
    spreads.push({ deciles, shares: sharesOf(deciles, figures) })
  }
  return spreads
}

function untrainable(what: string): InvalidInputError {
  return new InvalidInputError(`nothing can be trained: ${what}`, {
    code: 'MODEL_UNTRAINABLE',
    remedy: 'Let more devices of the type send for longer, or lower models.trainingRowsMin.',
  })
}
