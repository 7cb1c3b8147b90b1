import type uPlot from 'uplot'
import type { Severity } from '../api/types.ts'
import type { Theme } from './theme.ts'

/** What would have been normal, from one time to another. */
export interface Band {
  fromTs: number
  toTs: number
  low: number
  high: number
}

/** An alert's time on the chart. */
export interface Region {
  id: string
  fromTs: number
  toTs: number
  label: string
  severity: Severity
}

/** An anomaly, or its end. `value` null: at the foot of the chart. */
export interface Mark {
  id: string
  ts: number
  value: number | null
  kind: Severity | 'cleared'
  label: string
}

export interface Overlays {
  bands: readonly Band[]
  regions: readonly Region[]
}

/** Paints alert times and expected bands under the line. */
export function paintOverlays(plot: uPlot, { bands, regions }: Overlays, theme: Theme): void {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  for (const region of regions) {
    const left = plot.valToPos(region.fromTs, 'x', true)
    const right = plot.valToPos(region.toTs, 'x', true)
    ctx.fillStyle = theme.alert
    ctx.fillRect(left, bbox.top, Math.max(right - left, 1), bbox.height)
    ctx.fillStyle = theme.alertEdge
    ctx.fillRect(left, bbox.top, devicePixelRatio, bbox.height)
  }
  for (const band of bands) {
    const left = plot.valToPos(band.fromTs, 'x', true)
    const width = Math.max(plot.valToPos(band.toTs, 'x', true) - left, 2 * devicePixelRatio)
    const top = plot.valToPos(band.high, 'y', true)
    const bottom = plot.valToPos(band.low, 'y', true)
    ctx.fillStyle = theme.band
    ctx.fillRect(left, top, width, bottom - top)
    ctx.strokeStyle = theme.bandEdge
    ctx.lineWidth = devicePixelRatio
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio])
    for (const y of [top, bottom]) {
      ctx.beginPath()
      ctx.moveTo(left, y)
      ctx.lineTo(left + width, y)
      ctx.stroke()
    }
    ctx.setLineDash([])
  }
  ctx.restore()
}
