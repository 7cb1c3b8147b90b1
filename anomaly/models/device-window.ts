import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import type { Raised } from '../metric-track.ts'
import type { ModelManifest } from './model-file.ts'
import { figureOf } from './scaling.ts'

/** What a model knows of one device: the window it judges. It holds nothing else, so a score can be told from the readings again. */
export interface DeviceWindow {
  readonly version: number
  /** Latest value of each metric, NaN before the first. */
  readonly latest: Float64Array
  /** Figures of the last rows, oldest first. */
  readonly figures: Float32Array
  /** Rows of them that are filled, and rows taken in all. */
  filled: number
  seen: number
  /** Event time of the latest row, epoch ms; 0 before the first. */
  rowTs: number
  raised: Raised | null
  /** What was raised was not told to anybody. */
  inShadow: boolean
}

/** What the window's rows are made with. */
export type WindowSpec = Pick<ModelManifest, 'shape' | 'metrics' | 'everyMs' | 'gapMs' | 'version'>

export function newWindow({ version, shape }: WindowSpec): DeviceWindow {
  return {
    version,
    latest: new Float64Array(shape.metrics).fill(Number.NaN),
    figures: new Float32Array(shape.metrics * shape.rows),
    filled: 0,
    seen: 0,
    rowTs: 0,
    raised: null,
    inShadow: false,
  }
}

/**
 * Takes a reading in; true when it made a row and the window is full. A reading makes a row when it is the first of its slot of `everyMs`;
 * metrics that it does not carry count with their latest value. Readings older than the latest row change nothing; after a gap, or when the
 * clock was set back by one, the window begins anew.
 */
export function takeReading(window: DeviceWindow, spec: WindowSpec, reading: Pick<LoggedReading, 'ts' | 'values'>): boolean {
  const { metrics, everyMs, gapMs, shape } = spec
  const sinceMs = reading.ts - window.rowTs
  if (window.rowTs !== 0 && Math.abs(sinceMs) > gapMs) clear(window)
  else if (sinceMs < 0) return false
  for (let k = 0; k < metrics.length; k++) {
    const value = numberOf(reading.values[metrics[k]!.name])
    if (value !== undefined) window.latest[k] = value
  }
  if (window.rowTs !== 0 && Math.floor(reading.ts / everyMs) === Math.floor(window.rowTs / everyMs)) return false
  for (let k = 0; k < metrics.length; k++) if (Number.isNaN(window.latest[k]!)) return false
  window.figures.copyWithin(0, shape.metrics)
  const begin = (shape.rows - 1) * shape.metrics
  for (let k = 0; k < metrics.length; k++) window.figures[begin + k] = figureOf(metrics[k]!, window.latest[k]!)
  window.rowTs = reading.ts
  window.seen++
  if (window.filled < shape.rows) window.filled++
  return window.filled === shape.rows
}

function clear(window: DeviceWindow): void {
  window.latest.fill(Number.NaN)
  window.filled = 0
  window.rowTs = 0
}

/** Numbers as they are, true and false as 1 and 0; what is no finite number is not there. */
export function numberOf(value: MetricValue | undefined): number | undefined {
  if (typeof value === 'boolean') return value ? 1 : 0
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}
