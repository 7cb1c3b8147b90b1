import assert from 'node:assert/strict'
import type { Anomaly } from '../../../contracts/anomaly.ts'
import { bytesOf } from '../../../kernel/byte-stream.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { gaussian, seededRandom } from '../../../kernel/random.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { AnomalyMetrics } from '../../anomaly-metrics.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from '../../config.ts'
import { Gathering } from '../gathering.ts'
import { PeerOperator, type PeersSource } from '../peer-operator.ts'
import type { PeerState } from '../peer-state.ts'
import { metricsOf, type PeerSummary } from '../peer-summary.ts'

export const SLOT_MS = 60_000
export const START_TS = 1_763_683_200_000
export const TENANT = 'default'
export const TYPE = 'pump'

/** What a device says at an instant. `step`: of the reading, counted from the start. */
export type Says = (device: number, step: number) => Record<string, number | boolean | string> | null

export function anomalyConfig(changes: Partial<AnomalyConfig> = {}): AnomalyConfig {
  const checked = compileSchema(AnomalyConfigSchema)(changes)
  assert.ok(checked.status === 'valid')
  return checked.value
}

/** Summaries that hold from a number of readings on, the same in every partition. */
export class ScriptedPeers implements PeersSource {
  readonly summaries: PeerSummary[] = []
  readonly #from: number[] = []

  add(summary: Omit<PeerSummary, 'number'>, fromOffset: number): void {
    this.summaries.push({ ...summary, number: this.summaries.length + 1 })
    this.#from.push(fromOffset)
  }

  numberAt(_partition: number, offset: number): number {
    return this.#from.filter((from) => from <= offset).length
  }

  between(_tenant: string, type: string, after: number, upTo: number): readonly PeerSummary[] {
    return this.summaries.filter((one) => one.type === type && one.number > after && one.number <= upTo)
  }
}

/** Devices of one type that are compared with each other as on the road, without documents: each slot is summarised a slot later. */
export class PeerFleet {
  readonly anomalies: Anomaly[] = []
  readonly peers: ScriptedPeers
  readonly operator: PeerOperator
  readonly states: PeerState[] = []
  readonly #gathering: Gathering
  readonly #config: AnomalyConfig
  readonly #everyMs: number
  readonly #scripted: boolean
  #step = 0

  /** With `scripted` summaries nothing is summarised. */
  constructor(options: { devices: number; everyMs: number; config?: AnomalyConfig; scripted?: ScriptedPeers; seed?: string }) {
    const metrics = new Metrics()
    this.#config = options.config ?? anomalyConfig()
    this.#everyMs = options.everyMs
    this.#scripted = options.scripted !== undefined
    this.peers = options.scripted ?? new ScriptedPeers()
    this.#gathering = new Gathering({
      clock: { monotonicMs: () => this.#step * this.#everyMs },
      random: seededRandom(options.seed ?? 'peers'),
      metrics,
      valuesMax: 1_000_000,
    })
    this.operator = new PeerOperator({
      config: this.#config,
      peers: this.peers,
      onFinished: (slot) => this.#gathering.add(slot),
      anomalyMetrics: new AnomalyMetrics(metrics),
    })
    for (let k = 0; k < options.devices; k++) this.states.push(this.operator.create(TENANT, `pump-${k}`, TYPE))
  }

  /** `steps` more readings of each device. */
  run(steps: number, says: Says): this {
    for (const end = this.#step + steps; this.#step < end; this.#step++) {
      const ts = START_TS + this.#step * this.#everyMs
      for (const [device, state] of this.states.entries()) this.#tell(state, device, ts, says(device, this.#step))
      if (!this.#scripted && (ts + this.#everyMs) % SLOT_MS === 0) this.#summarise()
    }
    return this
  }

  /** As after a restart. */
  restart(): this {
    for (const [k, state] of this.states.entries()) {
      const bytes = Uint8Array.from(bytesOf((into) => this.operator.encode(state, into)))
      this.states[k] = this.operator.decode(bytes, this.operator.stateVersion)
    }
    return this
  }

  raised(): Anomaly[] {
    return this.anomalies.filter(({ phase }) => phase === 'raised')
  }

  #tell(state: PeerState, device: number, ts: number, values: ReturnType<Says>): void {
    if (values === null) return
    const place = { partition: device % 3, offset: this.#step, correlationId: '' }
    const reading = { tenant: TENANT, device: state.device, type: TYPE, receivedAt: ts, ts, values, ...place }
    this.operator.apply(state, reading, {
      emit: (_topic, _schema, _tenant, _device, anomaly) => void this.anomalies.push(anomaly as Anomaly),
    })
  }

  #summarise(): void {
    for (const { slotTs, metrics, at } of this.#gathering.due(SLOT_MS, 0)) {
      const joined = metricsOf([{ tenant: TENANT, type: TYPE, slotTs, metrics, at }], this.#config.peersMin + 1)
      if (joined.length > 0) this.peers.add({ tenant: TENANT, type: TYPE, slotTs, metrics: joined, at }, this.#step + 1)
    }
  }
}

/** A fleet in one environment: each device has its own offset, gain and noise; the day and what happens to all is common. */
export function fleetOf(seed: string, devices: number): { level: number; gain: number; noise: number }[] {
  const random = seededRandom(seed)
  return Array.from({ length: devices }, () => ({
    level: 20 + gaussian(random),
    gain: 1 + 0.1 * gaussian(random),
    noise: 0.2 + 0.1 * random.next(),
  }))
}
