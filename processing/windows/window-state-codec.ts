import { ByteReader, type ByteWriter } from '../../kernel/byte-stream.ts'
import { StoreError } from '../../kernel/errors.ts'
import { paneWidthMs, type WindowSpec } from './config.ts'
import { LogHistogram } from './log-histogram.ts'
import { Panes, SAVED_FIGURES } from './panes.ts'
import { EmittedWindows, type DeviceWindows, type MetricWindows } from './window-state.ts'

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
  /** Values of one pane on their way into bytes. */
  #values = new Float64Array(64)

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
    for (let i = 0; i < metric.panes.length; i++) this.#writePane(metric.panes, i, writer)
    const { emitted } = metric
    writer.integer(emitted.length)
    for (let i = 0; i < emitted.length; i++) {
      writer.integer(emitted.spec(i))
      writer.double(emitted.startTs(i))
      writer.integer(emitted.revision(i))
      writer.integer(emitted.count(i))
    }
  }

  #writePane(panes: Panes, pane: number, writer: ByteWriter): void {
    const count = panes.count(pane)
    writer.integer(count)
    for (const figure of panes.saved(pane)) writer.double(figure)
    const histogram = panes.histogram(pane)
    writer.integer(histogram?.size ?? 0)
    if (histogram === null) {
      if (count > this.#values.length) this.#values = new Float64Array(count)
      panes.valuesInto(pane, this.#values, 0)
      for (let i = 0; i < count; i++) writer.double(this.#values[i] as number)
      return
    }
    for (const key of histogram.sortedKeys()) {
      // Zigzag: small magnitudes of either sign stay short.
      writer.integer(key < 0 ? -key * 2 - 1 : key * 2)
      writer.integer(histogram.countOf(key))
    }
  }
}

function readMetric(reader: ByteReader): MetricWindows {
  const name = reader.text()
  const panes = new Panes()
  for (let left = reader.integer(); left > 0; left--) readPane(reader, panes)
  const emitted = new EmittedWindows()
  for (let left = reader.integer(); left > 0; left--) emitted.add(reader.integer(), reader.double(), reader.integer(), reader.integer())
  return { name, panes, emitted }
}

function readPane(reader: ByteReader, into: Panes): void {
  const count = reader.integer()
  const figures = SAVED_FIGURES.map(() => reader.double())
  const bins = reader.integer()
  if (bins === 0) {
    into.restore(
      count,
      figures,
      Array.from({ length: count }, () => reader.double()),
    )
    return
  }
  const histogram = new LogHistogram()
  for (let i = 0; i < bins; i++) {
    const zigzag = reader.integer()
    histogram.addToBin(zigzag % 2 === 1 ? -(zigzag + 1) / 2 : zigzag / 2, reader.integer())
  }
  into.restore(count, figures, histogram)
}
