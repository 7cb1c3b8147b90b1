import { ANOMALY, type Anomaly, type Explanation } from '../../contracts/anomaly.ts'
import type { OperatorOutput, ReadingOperator } from '../../contracts/operator.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { ByteWriter } from '../../kernel/byte-stream.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { anomalyId } from '../anomaly-id.ts'
import { advance, severityOf } from '../anomaly-lifecycle.ts'
import type { AnomalyMetrics } from '../anomaly-metrics.ts'
import type { AnomalyConfig } from '../config.ts'
import { Policies } from '../policies/policies.ts'
import type { FinishedSlot } from './gathering.ts'
import { excessOf, learnPlace, noveltyOfExcesses, placeAmong } from './peer-comparison.ts'
import { explainPeers, PEER_WARM_UP, type Compared } from './peer-explanation.ts'
import {
  COMPARED_MAX,
  COUNT,
  decodePeerState,
  encodePeerState,
  forgetSlots,
  LEVEL_USUAL,
  LEVELS,
  LIVELINESS_USUAL,
  LIVELINESSES,
  MEAN,
  newFigures,
  newPeerState,
  SLOTS_HELD,
  SQUARES,
  WIDTH,
  type PeerState,
} from './peer-state.ts'
import type { PeerSummary } from './peer-summary.ts'

/** What all processes together saw of a type's devices, as an operator asks for it. */
export interface PeersSource {
  /** The newest summary that holds at a place of the readings topic: the same place always has the same one. Hot path. */
  numberAt(partition: number, offset: number): number
  /** Summaries of a type after one number and up to another, oldest first. */
  between(tenant: string, type: string, after: number, upTo: number): readonly PeerSummary[]
}

export interface PeerOperatorOptions {
  config: AnomalyConfig
  peers: PeersSource
  /** Is told of each slot that a device is through with. */
  onFinished: (slot: FinishedSlot) => void
  anomalyMetrics: AnomalyMetrics
  /** Thresholds and impact; absent: those of `config`. */
  policies?: Policies
}

/** A slot with fewer readings does not tell how much a metric varies. */
const LIVELY_READINGS = 6
/** So many comparisons in a row must be normal before such an anomaly is cleared. */
const CLEAR_AFTER = 5
const VALUE_MAX = 1e100

/**
 * Says when a device is odd among the others of its type (`raised`, of cause `peers`), and when it no longer is. What a device was like in a slot
 * of event time, the level of each metric and how much it varied, is compared with what the others were like in the same slot as soon as
 * their summary is known. Odd is who is farther from them than it usually is, for some slots; what all of them do is never odd.
 */
export class PeerOperator implements ReadingOperator<PeerState> {
  readonly name = 'peers'
  readonly stateVersion = 1
  readonly #options: PeerOperatorOptions
  readonly #config: AnomalyConfig
  readonly #policies: Policies
  readonly #levels = new Float64Array(COMPARED_MAX)
  readonly #livelinesses = new Float64Array(COMPARED_MAX)

  constructor(options: PeerOperatorOptions) {
    this.#options = options
    this.#config = options.config
    this.#policies = options.policies ?? new Policies(options)
  }

  create(tenant: string, device: string, type: string): PeerState {
    return newPeerState(tenant, device, type)
  }

  apply(state: PeerState, reading: LoggedReading, out: OperatorOutput): void {
    if (state.type !== reading.type) state.type = reading.type
    const slot = Math.floor(reading.ts / this.#config.peersSlotMs)
    if (slot !== state.slot) {
      if (state.slot - slot >= SLOTS_HELD) forgetSlots(state)
      if (slot > state.slot) {
        if (state.slot >= 0) this.#finish(state, out.isFresh !== false)
        state.slot = slot
      }
    }
    if (slot === state.slot) take(state, reading)
    const number = this.#options.peers.numberAt(reading.partition, reading.offset)
    if (number > state.number) this.#compareUpTo(state, number, reading, out)
  }

  encode(state: PeerState, into: ByteWriter): void {
    encodePeerState(state, into)
  }

  /** Throws InvalidInputError on bytes of an unknown version or shape: the caller starts the device afresh. */
  decode(bytes: Uint8Array, version: number): PeerState {
    if (version !== this.stateVersion) {
      throw new InvalidInputError(`the state of a device among its peers is of version ${version}`, {
        remedy: 'Drop this state: the device is learnt anew.',
      })
    }
    return decodePeerState(bytes)
  }

  #finish(state: PeerState, isFresh: boolean): void {
    const at = state.slot % SLOTS_HELD
    state.finished[at] = state.slot
    for (const [k, figures] of state.figures.entries()) {
      const count = figures[COUNT]!
      const level = count === 0 ? Number.NaN : figures[MEAN]!
      const liveliness = count < LIVELY_READINGS ? Number.NaN : Math.sqrt(figures[SQUARES]! / count)
      this.#levels[k] = figures[LEVELS + at] = level
      this.#livelinesses[k] = figures[LIVELINESSES + at] = liveliness
      figures[COUNT] = figures[MEAN] = figures[SQUARES] = 0
    }
    if (!isFresh || state.type === '') return
    const { tenant, type, device, metrics, slot } = state
    const slotTs = slot * this.#config.peersSlotMs
    this.#options.onFinished({ tenant, type, device, slotTs, metrics, levels: this.#levels, livelinesses: this.#livelinesses })
  }

  #compareUpTo(state: PeerState, number: number, reading: LoggedReading, out: OperatorOutput): void {
    for (const summary of this.#options.peers.between(state.tenant, state.type, state.number, number)) {
      this.#compare(state, summary, reading, out)
    }
    state.number = number
  }

  #compare(state: PeerState, summary: PeerSummary, reading: LoggedReading, out: OperatorOutput): void {
    const { peersMin, peersSlotMs } = this.#config
    const slot = summary.slotTs / peersSlotMs
    const at = Number.isInteger(slot) ? slot % SLOTS_HELD : -1
    if (at === -1 || state.finished[at] !== slot) return
    const compared: Compared[] = []
    for (const peers of summary.metrics) {
      const figures = state.figures[state.metrics.indexOf(peers.metric)]
      if (figures === undefined) continue
      const kinds = [
        { kind: 'level', own: figures[LEVELS + at]!, usualAt: LEVEL_USUAL, of: peers.level },
        { kind: 'liveliness', own: figures[LIVELINESSES + at]!, usualAt: LIVELINESS_USUAL, of: peers.liveliness },
      ] as const
      for (const { kind, own, usualAt, of } of kinds) {
        const placed = of === null || !Number.isFinite(own) ? undefined : placeAmong(own, of, peersMin, figures[usualAt + WIDTH]!)
        if (placed === undefined) continue
        const excess = excessOf(figures, usualAt, placed.place)
        compared.push({ metric: peers.metric, kind, own, ...placed, excess, figures, usualAt, typical: peers.typical })
      }
    }
    if (compared.length === 0) return
    this.#judge(state, summary, compared, reading, out)
    for (const one of compared) learnPlace(one.figures, one.usualAt, one)
    state.compared++
  }

  #judge(state: PeerState, summary: PeerSummary, compared: readonly Compared[], reading: LoggedReading, out: OperatorOutput): void {
    const novelty = noveltyOfExcesses(compared.reduce((sum, { excess }) => sum + excess * excess, 0))
    const ts = summary.slotTs + this.#config.peersSlotMs
    const before = state.raised
    const config = { ...this.#policies.of(state, '', reading.partition, reading.offset), clearAfterReadings: CLEAR_AFTER }
    const phase = advance(state, novelty, ts, state.compared >= PEER_WARM_UP, config)
    if (phase === 'none') return
    const explanation = explainPeers({ compared, novelty, phase, summary, state, slotMs: this.#config.peersSlotMs })
    if (phase === 'raised' && before === null) state.metric = mostOf(compared)
    const severity = phase === 'cleared' && before !== null ? before.severity : severityOf(novelty, config)
    this.#emit(state, { phase, ts, score: novelty, severity, explanation }, reading, out)
  }

  #emit(
    { tenant, device, type, metric }: PeerState,
    told: Pick<Anomaly, 'phase' | 'ts' | 'score' | 'severity'> & { explanation: Explanation },
    { receivedAt, partition, offset, correlationId }: LoggedReading,
    out: OperatorOutput,
  ): void {
    const particulars = { metric, cause: 'peers' as const, ...told, receivedAt, partition, offset, correlationId }
    const anomaly: Anomaly = { id: anomalyId(tenant, device, particulars), tenant, device, type, ...particulars }
    const { raised, cleared } = this.#options.anomalyMetrics
    if (told.phase === 'raised') raised.inc({ cause: 'peers', severity: told.severity })
    else cleared.inc({ cause: 'peers' })
    out.emit(TOPICS.anomalies, ANOMALY, tenant, device, anomaly)
  }
}

/** Takes the numbers of a reading into the slot under way. Truth values count as 0 and 1, words not at all. */
function take(state: PeerState, { values }: LoggedReading): void {
  for (const metric in values) {
    const value = values[metric]
    if (typeof value === 'string' || value === undefined) continue
    const number = Math.max(-VALUE_MAX, Math.min(VALUE_MAX, Number(value)))
    if (Number.isNaN(number)) continue
    let place = state.metrics.indexOf(metric)
    if (place === -1) {
      if (state.metrics.length >= COMPARED_MAX) continue
      place = state.metrics.push(metric) - 1
      state.figures.push(newFigures())
    }
    const figures = state.figures[place]!
    const count = ++figures[COUNT]!
    const away = number - figures[MEAN]!
    figures[MEAN]! += away / count
    figures[SQUARES]! += away * (number - figures[MEAN]!)
  }
}

function mostOf(compared: readonly Compared[]): string {
  return compared.reduce((most, one) => (one.excess > most.excess ? one : most)).metric
}
