import type { Pane } from './pane.ts'

/** A window that was emitted and may still change. */
export interface EmittedWindow {
  /** Place of the window in the configured list. */
  spec: number
  startTs: number
  revision: number
  /** Values it had then; a different number now means that there is something new to say. */
  count: number
}

/** Open windows of one metric. */
export interface MetricWindows {
  name: string
  /** In order of time, without gaps filled in. */
  panes: Pane[]
  emitted: EmittedWindow[]
}

/** Open windows of one device. */
export interface DeviceWindows {
  tenant: string
  device: string
  /** Newest event time seen, -Infinity before the first reading; the watermark trails it. */
  maxTs: number
  /** Windows that end up to here were closed by the watermark; a multiple of the pane width. */
  closedToTs: number
  /** Wall time of the first tick after the last reading, epoch ms. */
  lastSpokeMs: number
  /** A reading came since the last tick. */
  spoken: boolean
  /** The idle timeout closed what was open, and nothing was said since. */
  idle: boolean
  metrics: Map<string, MetricWindows>
}
