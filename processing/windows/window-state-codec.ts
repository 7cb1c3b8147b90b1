import { ByteReader, type ByteWriter } from '../../kernel/byte-stream.ts'
import { StoreError } from '../../kernel/errors.ts'
import { paneWidthMs, type WindowSpec } from './config.ts'
import { LogHistogram } from './log-histogram.ts'
import { Pane } from './pane.ts'
import type { DeviceWindows, EmittedWindow, MetricWindows } from './window-state.ts'

/** Grows with every change of the layout below; `decode` migrates older ones. */
export const WINDOW_STATE_VERSION = 1

/** Flags of a device, one bit each. */
const SPOKEN = 1
const IDLE = 2

/**
 * Checkpoints of window states. The configured windows are part of the bytes: a state written under others keeps the device's clock
 * and loses its open panes, because panes of another width cannot be cut.
 */
export class WindowStateCodec {
  readonly #layout: string
  readonly #paneMs: number

  constructor(windows: readonly WindowSpec[]) {
    this.#layout = windows.map((spec) => `${spec.kind}/${spec.sizeMs}/${spec.slideMs}`).join(',')
    this.#paneMs = paneWidthMs(windows)
  }

  encode(state: DeviceWindows, writer: ByteWriter): void {
    writer.text(state.tenant)
    writer.text(state.device)
    writer.text(this.#layout)
    writer.double(state.maxTs)
    writer.double(state.closedToTs)
    writer.double(state.lastSpokeMs)
    writer.integer((state.spoken ? SPOKEN : 0) | (state.idle ? IDLE : 0))
    writer.integer(state.metrics.size)
    for (const metric of state.metrics.values()) this.#writeMetric(metric, writer)
  }

  /** `dropped` tells that panes were left behind because the windows are configured differently now. StoreError for unknown versions and damage. */
  decode(bytes: Uint8Array, version: number): { state: DeviceWindows; dropped: boolean } {
    if (version !== WINDOW_STATE_VERSION) {
      throw new StoreError('STORE_NEWER', `window state of version ${version}; this build knows ${WINDOW_STATE_VERSION}`, {
        remedy: 'Run the newer Fleetpulse that wrote it.',
      })
    }
    const reader = new ByteReader(bytes)
    const tenant = reader.text()
    const device = reader.text()
    const sameLayout = reader.text() === this.#layout
    const maxTs = reader.double()
    const closedToTs = reader.double()
    const lastSpokeMs = reader.double()
    const flags = reader.integer()
    const state: DeviceWindows = {
      tenant,
      device,
      maxTs,
      closedToTs: sameLayout ? closedToTs : Math.floor(closedToTs / this.#paneMs) * this.#paneMs,
      lastSpokeMs,
      spoken: (flags & SPOKEN) !== 0,
      idle: (flags & IDLE) !== 0,
      metrics: new Map(),
    }
    const metrics = reader.integer()
    if (!sameLayout) return { state, dropped: metrics > 0 }
    for (let i = 0; i < metrics; i++) {
      const metric = readMetric(reader)
      state.metrics.set(metric.name, metric)
    }
    return { state, dropped: false }
  }

  #writeMetric(metric: MetricWindows, writer: ByteWriter): void {
    writer.text(metric.name)
    writer.integer(metric.panes.length)
    for (const pane of metric.panes) writePane(writer, pane)
    writer.integer(metric.emitted.length)
    for (const window of metric.emitted) {
      writer.integer(window.spec)
      writer.double(window.startTs)
      writer.integer(window.revision)
      writer.integer(window.count)
    }
  }
}

function readMetric(reader: ByteReader): MetricWindows {
  const name = reader.text()
  const panes: Pane[] = []
  for (let left = reader.integer(); left > 0; left--) panes.push(readPane(reader))
  const emitted: EmittedWindow[] = []
  for (let left = reader.integer(); left > 0; left--) {
    emitted.push({ spec: reader.integer(), startTs: reader.double(), revision: reader.integer(), count: reader.integer() })
  }
  return { name, panes, emitted }
}

function writePane(writer: ByteWriter, pane: Pane): void {
  writer.integer(pane.count)
  for (const value of [pane.startTs, pane.min, pane.max, pane.mean, pane.squares, pane.firstTs, pane.first, pane.lastTs, pane.last]) {
    writer.double(value)
  }
  writer.integer(pane.histogram?.size ?? 0)
  if (pane.histogram === null) {
    for (let i = 0; i < pane.count; i++) writer.double(pane.values[i] as number)
    return
  }
  for (const key of pane.histogram.sortedKeys()) {
    // Zigzag: small magnitudes of either sign stay short.
    writer.integer(key < 0 ? -key * 2 - 1 : key * 2)
    writer.integer(pane.histogram.countOf(key))
  }
}

function readPane(reader: ByteReader): Pane {
  const pane = new Pane()
  pane.count = reader.integer()
  pane.startTs = reader.double()
  pane.min = reader.double()
  pane.max = reader.double()
  pane.mean = reader.double()
  pane.squares = reader.double()
  pane.firstTs = reader.double()
  pane.first = reader.double()
  pane.lastTs = reader.double()
  pane.last = reader.double()
  const bins = reader.integer()
  if (bins === 0) {
    for (let i = 0; i < pane.count; i++) pane.values.push(reader.double())
    return pane
  }
  pane.histogram = new LogHistogram()
  for (let i = 0; i < bins; i++) {
    const zigzag = reader.integer()
    pane.histogram.addToBin(zigzag % 2 === 1 ? -(zigzag + 1) / 2 : zigzag / 2, reader.integer())
  }
  return pane
}
