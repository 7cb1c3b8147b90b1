import type { Mark, Region } from './overlays.ts'

/** Where the plot lies inside the chart, in CSS pixels, and what it shows. */
export interface Geometry {
  left: number
  top: number
  width: number
  height: number
  fromTs: number
  toTs: number
  low: number
  high: number
}

export interface PlacedMark extends Mark {
  x: number
  y: number
  /** Marks that lie so close that one stands for all. */
  count: number
}

/** Marks closer than this are one: that bounds their number on any screen. */
const APART_PX = 11
const WORTH = { critical: 2, warning: 1, cleared: 0 } as const

export function placeMarks(marks: readonly Mark[], plot: Geometry): PlacedMark[] {
  const placed: PlacedMark[] = []
  const visible = marks.filter(({ ts }) => ts >= plot.fromTs && ts <= plot.toTs).toSorted((a, b) => a.ts - b.ts)
  for (const mark of visible) {
    const x = xOf(mark.ts, plot)
    const y = mark.value === null ? plot.top + plot.height - 8 : yOf(mark.value, plot)
    const last = placed.at(-1)
    if (last === undefined || x - last.x >= APART_PX) {
      placed.push({ ...mark, x, y, count: 1 })
      continue
    }
    const worst = WORTH[mark.kind] > WORTH[last.kind] ? { ...mark, x, y } : last
    placed[placed.length - 1] = { ...worst, count: last.count + 1 }
  }
  return placed
}

/** Left edges of alert flags; those that start before the visible time stick to its beginning. */
export function placeRegions(regions: readonly Region[], plot: Geometry): (Region & { x: number })[] {
  return regions
    .filter(({ fromTs, toTs }) => toTs >= plot.fromTs && fromTs <= plot.toTs)
    .map((region) => ({ ...region, x: Math.max(plot.left, xOf(region.fromTs, plot)) }))
}

function xOf(ts: number, plot: Geometry): number {
  return plot.left + ((ts - plot.fromTs) / (plot.toTs - plot.fromTs)) * plot.width
}

function yOf(value: number, plot: Geometry): number {
  const share = (value - plot.low) / (plot.high - plot.low)
  return plot.top + (1 - Math.min(1, Math.max(0, share))) * plot.height
}
