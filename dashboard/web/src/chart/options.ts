import uPlot from 'uplot'
import { measure } from '../ui/format.ts'
import type { Theme } from './theme.ts'

const two = (value: number): string => String(value).padStart(2, '0')
const DAY_MS = 86_400_000
const MINUTE_MS = 60_000

/** Labels of the time axis: 24 hours, and the date under the first label and wherever it changes. */
export function timeLabels(splits: number[], incrementMs: number): string[] {
  let lastDay = ''
  return splits.map((ms) => {
    const at = new Date(ms)
    const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
    if (incrementMs >= DAY_MS) return date
    const time = `${two(at.getHours())}:${two(at.getMinutes())}${incrementMs < MINUTE_MS ? `:${two(at.getSeconds())}` : ''}`
    const label = date === lastDay ? time : `${time}\n${date}`
    lastDay = date
    return label
  })
}

/** Heights that must be seen whatever the line does: bands and marks. */
export interface Extent {
  min: number
  max: number
}

export interface OptionsInput {
  width: number
  height: number
  theme: Theme
  categories: readonly string[]
  /** The visible times, asked at each drawing. */
  range: () => [number, number]
  extent: () => Extent | undefined
  paint: (plot: uPlot) => void
  drawn: (plot: uPlot) => void
  moved: (plot: uPlot) => void
}

export function chartOptions(input: OptionsInput): uPlot.Options {
  const { width, height, theme, categories } = input
  const stepped = categories.length > 0
  const paths = stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined
  const axis = { stroke: theme.text, font: theme.font, grid: { stroke: theme.grid, width: 1 }, ticks: { show: false } }
  const edge = { stroke: 'transparent', width: 0, points: { show: false } }
  return {
    width,
    height,
    ms: 1,
    padding: [14, 10, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7 }, y: false },
    scales: {
      x: { time: true, range: () => input.range() },
      y: { range: (_plot, min, max) => (stepped ? [-0.5, categories.length - 0.5] : padded(min, max, input.extent())) },
    },
    axes: [
      { ...axis, size: 40, space: 84, values: (_plot, splits, _axis, _space, increment) => timeLabels(splits, increment) },
      {
        ...axis,
        size: (plot, labels) => labelSpace(plot, labels),
        values: (_plot, splits) => splits.map((value) => (stepped ? (categories[value] ?? '').slice(0, 14) : measure(value))),
        ...(stepped ? { incrs: [1] } : {}),
      },
    ],
    series: [
      {},
      { ...edge },
      { ...edge },
      { stroke: theme.line, width: 1.5, points: { size: 4, space: 12 }, ...(paths === undefined ? {} : { paths }) },
    ],
    bands: [{ series: [2, 1], fill: theme.envelope }],
    hooks: { drawAxes: [input.paint], draw: [input.drawn], setCursor: [input.moved] },
  }
}

/** Eight percent of air around everything that must be seen; a flat line gets a window too. */
function padded(min: number | null, max: number | null, extent: Extent | undefined): [number, number] {
  const low = Math.min(min ?? Number.POSITIVE_INFINITY, extent?.min ?? Number.POSITIVE_INFINITY)
  const high = Math.max(max ?? Number.NEGATIVE_INFINITY, extent?.max ?? Number.NEGATIVE_INFINITY)
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1]
  const air = high > low ? (high - low) * 0.08 : Math.abs(high) * 0.1 || 1
  return [low - air, high + air]
}

function labelSpace(plot: uPlot, labels: string[] | null): number {
  const longest = (labels ?? []).reduce((all, label) => (label.length > all.length ? label : all), '')
  plot.ctx.save()
  plot.ctx.font = `${12 * devicePixelRatio}px sans-serif`
  const width = plot.ctx.measureText(longest).width / devicePixelRatio
  plot.ctx.restore()
  return Math.ceil(width) + 18
}
