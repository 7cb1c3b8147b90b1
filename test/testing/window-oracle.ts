import type { MetricValue } from '../../contracts/reading.ts'
import type { WindowResult } from '../../contracts/window.ts'

export interface OracleReading {
  ts: number
  seq: number
  values: Record<string, MetricValue>
}

/** Count, extremes, first and last of one window of one metric, straight from the readings of its device in order of event time and sequence. */
export function oracleWindow(
  readings: readonly OracleReading[],
  metric: string,
  startTs: number,
  endTs: number,
): Pick<WindowResult, 'count' | 'min' | 'max' | 'mean' | 'first' | 'last'> {
  const values = readings
    .filter(({ ts }) => ts >= startTs && ts < endTs)
    .flatMap(({ values: { [metric]: value } }) => (typeof value === 'number' ? [value] : []))
  const sum = values.reduce((all, value) => all + value, 0)
  return {
    count: values.length,
    min: Math.min(...values),
    max: Math.max(...values),
    mean: sum / values.length,
    first: values[0] ?? NaN,
    last: values.at(-1) ?? NaN,
  }
}

/** Last revisions of windows, by id. */
export function finalWindows(emitted: readonly WindowResult[]): Map<string, WindowResult> {
  const final = new Map<string, WindowResult>()
  for (const window of emitted) if ((final.get(window.id)?.revision ?? 0) < window.revision) final.set(window.id, window)
  return final
}

/** What differs from the oracle, a sentence each. Windows that should have been emitted by `closedTs` and are not there count too. */
export function windowFaults(options: {
  device: string
  metric: string
  readings: readonly OracleReading[]
  emitted: readonly WindowResult[]
  sizeMs: number
  closedTs: number
}): string[] {
  const { device, metric, readings, emitted, sizeMs, closedTs } = options
  const faults: string[] = []
  const final = finalWindows(emitted)
  const seen = new Set<number>()
  for (const window of final.values()) {
    if (window.kind !== 'tumbling' || window.sizeMs !== sizeMs) continue
    seen.add(window.startTs)
    const expected = oracleWindow(readings, metric, window.startTs, window.endTs)
    const { count, min, max, mean, first, last } = window
    const isSame =
      count === expected.count && min === expected.min && max === expected.max && first === expected.first && last === expected.last
    if (!isSame || Math.abs(mean - expected.mean) > 1e-9 * Math.max(1, Math.abs(mean))) {
      faults.push(
        `${device} ${metric} ${window.startTs}: ${JSON.stringify({ count, min, max, mean, first, last })}, the oracle says ${JSON.stringify(expected)}`,
      )
    }
  }
  const starts = new Set(
    readings
      .filter(({ ts, values }) => typeof values[metric] === 'number' && ts + sizeMs < closedTs)
      .map(({ ts }) => Math.floor(ts / sizeMs) * sizeMs),
  )
  for (const startTs of starts)
    if (startTs + sizeMs <= closedTs && !seen.has(startTs)) faults.push(`${device} ${metric} ${startTs}: no window was emitted`)
  return faults
}
