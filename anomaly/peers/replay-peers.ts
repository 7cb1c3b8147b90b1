import type { Anomaly } from '../../contracts/anomaly.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { AnomalyMetrics } from '../anomaly-metrics.ts'
import type { AnomalyConfig } from '../config.ts'
import type { PastReading, Replayed } from '../replayed.ts'
import { excessOf, noveltyOfExcesses, PEER_PARAMETERS, placeAmong } from './peer-comparison.ts'
import { usualFrom } from './peer-explanation.ts'
import { PeerOperator } from './peer-operator.ts'
import { WIDTH } from './peer-state.ts'
import type { PeerSummary } from './peer-summary.ts'

/** What a device was like in one slot: level and liveliness by metric, and of how many readings. */
interface OwnSlot {
  readings: number
  figures: Map<string, { level: number; liveliness: number }>
}

const NOBODY = { numberAt: () => 0, between: () => [] }

/**
 * Compares a device with its peers anew: what it was like in the slot is told from its stored readings, the peers by their summary, and what was
 * usual of it then is in the anomaly. `readings`: in the order in which they came, from the slot's begin on. `summary`: null when it is gone.
 */
export function replayPeers(
  anomaly: Anomaly,
  readings: readonly PastReading[],
  summary: PeerSummary | null,
  config: AnomalyConfig,
): Replayed {
  const { parameters, observed } = anomaly.explanation
  const changed = (why: string[], score: number | null = null, count = 0): Replayed => ({ status: 'changed', score, readings: count, why })
  const usual = usualFrom(parameters.usual)
  if (usual === undefined) return changed(['it was raised by a release that did not keep what was usual of the device'])
  if (summary === null)
    return changed([`summary ${String(parameters.summary)} of its peers is no longer kept (anomaly.peersKept is ${config.peersKept})`])
  const slotMs = Number(parameters.slotMs)
  const own = slotOf(anomaly, readings, { ...config, peersSlotMs: slotMs }, summary.slotTs)
  const why: string[] = []
  let squares = 0
  for (const { metric, kind, figures } of usual) {
    const peers = summary.metrics.find((one) => one.metric === metric)?.[kind]
    const value = own.figures.get(metric)?.[kind] ?? Number.NaN
    const placed =
      peers === undefined || peers === null || Number.isNaN(value)
        ? undefined
        : placeAmong(value, peers, config.peersMin, figures[WIDTH] ?? 0)
    if (placed !== undefined) squares += excessOf(figures, 0, placed.place) ** 2
    else why.push(`${metric} (${kind}) cannot be compared: ${reasonOf(peers, value, config)}`)
    if (metric === parameters.metric && kind === parameters.figure && value !== observed && !Number.isNaN(value))
      why.push(`${metric} (${kind}) was ${observed} in the slot, and is ${value} by the ${own.readings} readings that are stored`)
  }
  const score = noveltyOfExcesses(squares)
  if (score === anomaly.score) return { status: 'same', score, readings: own.readings }
  for (const [name, value] of Object.entries(PEER_PARAMETERS)) {
    if (parameters[name] !== value) why.push(`${name} was ${String(parameters[name])} and is ${value}`)
  }
  if (why.length === 0) why.push('the readings of the slot are others than those that it was told from, or came in another order')
  return changed(why, score, own.readings)
}

function reasonOf(peers: object | null | undefined, value: number, { peersMin }: AnomalyConfig): string {
  if (peers === undefined || peers === null) return 'its peers have no such figure'
  return Number.isNaN(value) ? 'its readings of the slot are no longer stored' : `fewer than ${peersMin} others have it (anomaly.peersMin)`
}

/** What the operator on the road makes of the readings when it is through with the slot. */
function slotOf({ tenant, device, type }: Anomaly, readings: readonly PastReading[], config: AnomalyConfig, slotTs: number): OwnSlot {
  const slot: OwnSlot = { readings: 0, figures: new Map() }
  let isOver = false
  const operator = new PeerOperator({
    config,
    peers: NOBODY,
    anomalyMetrics: new AnomalyMetrics(new Metrics()),
    onFinished: (finished) => {
      if (finished.slotTs !== slotTs || isOver) return
      isOver = true
      for (const [k, metric] of finished.metrics.entries())
        slot.figures.set(metric, { level: finished.levels[k] ?? Number.NaN, liveliness: finished.livelinesses[k] ?? Number.NaN })
    },
  })
  const state = operator.create(tenant, device, type)
  const place = { tenant, device, type, partition: 0, correlationId: '' }
  const closing = { ts: slotTs + config.peersSlotMs, values: {} }
  for (const [offset, { ts, values }] of [...readings, closing].entries()) {
    operator.apply(state, { ...place, ts, receivedAt: ts, offset, values: { ...values } }, { emit: () => undefined })
    if (isOver) break
    if (ts >= slotTs && ts < closing.ts) slot.readings++
  }
  return slot
}
