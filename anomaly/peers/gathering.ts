import type { Counter } from 'prom-client'
import type { Metrics } from '../../kernel/metrics.ts'
import { integerBetween, type Random } from '../../kernel/random.ts'
import type { Clock } from '../../kernel/time.ts'
import { PART_VALUES_MAX, type FigurePart, type MetricPart, type PeerPart } from './peer-summary.ts'

/** What a device was like in a slot that is over for it. `levels` and `livelinesses` in the order of `metrics`; NaN where there is none. */
export interface FinishedSlot {
  readonly tenant: string
  readonly type: string
  readonly device: string
  readonly slotTs: number
  readonly metrics: readonly string[]
  readonly levels: ArrayLike<number>
  readonly livelinesses: ArrayLike<number>
}

interface Sample {
  count: number
  readonly values: number[]
  readonly devices: string[]
}

interface OpenSlot {
  readonly tenant: string
  readonly type: string
  readonly slotTs: number
  /** When the first device was through with it, monotonic ms. */
  readonly sinceMs: number
  readonly metrics: Map<string, { level: Sample; liveliness: Sample }>
}

export interface GatheringOptions {
  clock: Pick<Clock, 'monotonicMs'>
  random: Random
  metrics: Metrics
  /** Numbers held at most. */
  valuesMax: number
}

/** Devices whose values are held of one figure; of more, a fair sample. */
const SAMPLE_MAX = 512

/** What the devices of this process were like in slots of event time that are not summarised yet. Bounded: what is too much is not compared. */
export class Gathering {
  readonly #options: GatheringOptions
  readonly #open = new Map<string, OpenSlot>()
  #values = 0
  readonly #leftOut: Counter

  constructor(options: GatheringOptions) {
    this.#options = options
    this.#leftOut = options.metrics.counter(
      'anomaly_peer_values_left_out_total',
      'Values of devices that their peers are not compared with: anomaly.peersValuesMax is reached',
    )
    options.metrics.gaugeOf('anomaly_peer_values', 'Values of devices that wait to be summarised for their peers', () => this.#values)
  }

  add(finished: FinishedSlot): void {
    const { tenant, type, device, slotTs, metrics, levels, livelinesses } = finished
    const key = JSON.stringify([tenant, type, slotTs])
    let slot = this.#open.get(key)
    if (slot === undefined) {
      slot = { tenant, type, slotTs, sinceMs: this.#options.clock.monotonicMs(), metrics: new Map() }
      this.#open.set(key, slot)
    }
    for (const [k, metric] of metrics.entries()) {
      let own = slot.metrics.get(metric)
      if (own === undefined) slot.metrics.set(metric, (own = { level: newSample(), liveliness: newSample() }))
      this.#take(own.level, levels[k] ?? Number.NaN, device)
      this.#take(own.liveliness, livelinesses[k] ?? Number.NaN, device)
    }
  }

  /** Slots whose first device was through with them at least `waitMs` ago; they are no longer held. */
  due(waitMs: number, at: number): PeerPart[] {
    const nowMs = this.#options.clock.monotonicMs()
    const due: PeerPart[] = []
    for (const [key, { tenant, type, slotTs, sinceMs, metrics }] of this.#open) {
      if (nowMs - sinceMs < waitMs) continue
      this.#open.delete(key)
      const parts: MetricPart[] = []
      for (const [metric, { level, liveliness }] of metrics) {
        this.#values -= level.values.length + liveliness.values.length
        parts.push({ metric, level: partOf(level), liveliness: partOf(liveliness) })
      }
      due.push({ tenant, type, slotTs, metrics: parts, at })
    }
    return due
  }

  #take(sample: Sample, value: number, device: string): void {
    if (!Number.isFinite(value)) return
    if (sample.values.length < SAMPLE_MAX) {
      if (this.#values >= this.#options.valuesMax) {
        this.#leftOut.inc()
        return
      }
      this.#values++
      sample.count++
      sample.values.push(value)
      sample.devices.push(device)
      return
    }
    sample.count++
    const place = integerBetween(this.#options.random, 0, sample.count - 1)
    if (place >= SAMPLE_MAX) return
    sample.values[place] = value
    sample.devices[place] = device
  }
}

function newSample(): Sample {
  return { count: 0, values: [], devices: [] }
}

/** In order; of many, those at even steps of their order. */
function partOf({ count, values, devices }: Sample): FigurePart {
  const order = values.map((_, k) => k).sort((a, b) => (values[a] as number) - (values[b] as number))
  const kept =
    order.length <= PART_VALUES_MAX
      ? order
      : Array.from({ length: PART_VALUES_MAX }, (_, k) => order[Math.floor(((k + 0.5) * order.length) / PART_VALUES_MAX)] as number)
  return { count, values: kept.map((k) => values[k] as number), devices: kept.map((k) => devices[k] as string) }
}
