import type { Panes } from './panes.ts'
import { Records } from './records.ts'

/** Windows of one metric that were emitted and may still change. */
export class EmittedWindows {
  readonly #records = new Records(4)

  get length(): number {
    return this.#records.length
  }

  /** Place of the window in the configured list. */
  spec(index: number): number {
    return this.#at(index, 0)
  }
  startTs(index: number): number {
    return this.#at(index, 1)
  }
  revision(index: number): number {
    return this.#at(index, 2)
  }
  /** Values it had then; a different number now means that there is something new to say. */
  count(index: number): number {
    return this.#at(index, 3)
  }

  /** -1: this window was not emitted, or can no longer change. */
  find(spec: number, startTs: number): number {
    for (let i = 0; i < this.length; i++) if (this.spec(i) === spec && this.startTs(i) === startTs) return i
    return -1
  }

  add(spec: number, startTs: number, revision: number, count: number): void {
    const index = this.length
    this.#records.insert(index)
    this.#set(index, spec, startTs, revision, count)
  }

  /** It was emitted once more, with so many values. */
  revise(index: number, count: number): void {
    this.#set(index, this.spec(index), this.startTs(index), this.revision(index) + 1, count)
  }

  /** Forgets those that can no longer change. */
  keep(canChange: (spec: number, startTs: number) => boolean): void {
    let kept = 0
    for (let i = 0; i < this.length; i++) {
      if (!canChange(this.spec(i), this.startTs(i))) continue
      if (kept < i) this.#set(kept, this.spec(i), this.startTs(i), this.revision(i), this.count(i))
      kept++
    }
    this.#records.length = kept
  }

  #at(index: number, figure: number): number {
    return this.#records.block[index * this.#records.stride + figure]!
  }

  #set(index: number, spec: number, startTs: number, revision: number, count: number): void {
    const { block, stride } = this.#records
    block[index * stride] = spec
    block[index * stride + 1] = startTs
    block[index * stride + 2] = revision
    block[index * stride + 3] = count
  }
}

/** Open windows of one metric. */
export interface MetricWindows {
  name: string
  panes: Panes
  emitted: EmittedWindows
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
