import type { Anomaly } from '../contracts/anomaly.ts'
import type { LoggedReading } from '../contracts/reading.ts'
import { Metrics } from '../kernel/metrics.ts'
import { AnomalyMetrics } from './anomaly-metrics.ts'
import { detectorsFor } from './anomaly-operator.ts'
import type { AnomalyConfig } from './config.ts'
import { CorrelationOperator } from './joint/correlation-operator.ts'
import { createTrack, findingOf, kindOf, learnInto, noveltyOf } from './metric-track.ts'
import type { BackendName } from './models/backend.ts'
import { backendOf, endedWithItsModel, replayModel, type KeptModel } from './models/replay-model.ts'
import type { PeerSummary } from './peers/peer-summary.ts'
import { replayPeers } from './peers/replay-peers.ts'
import type { PastReading, Replayed } from './replayed.ts'

/** What settings the detectors have that scores depend on. */
export type ScoreSettings = Pick<AnomalyConfig, 'ensemble' | 'ensembleEveryMs'>

/** What scores depend on beside readings and settings, as it is still kept. */
export interface KeptParts {
  /** A version of the model of a type, calculated by what calculated then where that is known and can be used here. */
  model(type: string, version: number, backend: BackendName | undefined): Promise<KeptModel>
  /** What the devices of a type were like in a slot; null when it is gone. */
  peers(summary: number): Promise<PeerSummary | null>
}

/** Judges the stored readings of a device anew, from the first to the one that the anomaly was raised for. `readings`: in the order in which they came. */
export async function replayAnomaly(
  anomaly: Anomaly,
  readings: readonly PastReading[],
  config: AnomalyConfig,
  kept: KeptParts,
): Promise<Replayed> {
  switch (anomaly.cause) {
    case 'value':
      return replayValue(anomaly, readings, config)
    case 'correlation':
      return replayTogether(anomaly, readings, config)
    case 'silence':
      return replaySilence(anomaly)
    case 'peers':
      return replayPeers(anomaly, readings, await kept.peers(Number(anomaly.explanation.parameters.summary)), config)
    case 'model':
      if (endedWithItsModel(anomaly)) return { status: 'same', score: 0, readings: 0 }
      return replayModel(anomaly, readings, await kept.model(anomaly.type, anomaly.explanation.detectorVersion, backendOf(anomaly)))
    default:
      return { status: 'changed', score: null, readings: 0, why: [`an anomaly of cause ${anomaly.cause} is not a detector's of a metric`] }
  }
}

function replayValue(anomaly: Anomaly, readings: readonly PastReading[], config: ScoreSettings): Replayed {
  const { metric, explanation } = anomaly
  const detectors = detectorsFor(config)
  const own = readings.flatMap(({ ts, values }) => (values[metric] === undefined ? [] : [{ ts, value: values[metric] }]))
  const at = own.findLastIndex(({ ts }) => ts === anomaly.ts)
  const judged = own[at]
  if (judged === undefined) return { status: 'changed', score: null, readings: own.length, why: ['the reading itself is no longer stored'] }
  const track = createTrack(detectors, kindOf(judged.value))
  for (const { ts, value } of own.slice(0, at)) if (kindOf(value) === track.kind) learnInto(detectors, track, value, ts)
  const score = noveltyOf(detectors, track, judged.value, judged.ts)
  const finding = findingOf(detectors, track, judged.value, judged.ts)
  if (score === anomaly.score) return { status: 'same', score, readings: at }
  const why: string[] = []
  const was = `${explanation.detector}@${explanation.detectorVersion}`
  const is = `${finding.detector}@${finding.detectorVersion}`
  if (was !== is) why.push(`${was} judged then, ${is} judges now`)
  for (const [name, value] of Object.entries(finding.parameters)) {
    const before = explanation.parameters[name]
    if (before !== undefined && before !== value) why.push(`${name} was ${String(before)} and is ${String(value)}`)
  }
  if (explanation.readingsSeen > at) why.push(`${explanation.readingsSeen} readings were known then, ${at} of them are stored`)
  if (explanation.readingsSeen < at)
    why.push(`${explanation.readingsSeen} readings were known then, ${at} are stored: some came later, or learning had begun anew`)
  if (why.length === 0) why.push('the readings before it came in another order than that of their event times')
  return { status: 'changed', score, readings: at, why }
}

function replayTogether(anomaly: Anomaly, readings: readonly PastReading[], config: AnomalyConfig): Replayed {
  const { tenant, device, type } = anomaly
  const operator = new CorrelationOperator({ config, anomalyMetrics: new AnomalyMetrics(new Metrics()) })
  const state = operator.create(tenant, device, type)
  const told: Anomaly[] = []
  const until = readings.findLastIndex(({ ts }) => ts === anomaly.ts)
  for (const [offset, { ts, values }] of readings.slice(0, until + 1).entries()) {
    const reading: LoggedReading = {
      tenant,
      device,
      type,
      receivedAt: ts,
      ts,
      correlationId: '',
      partition: 0,
      offset,
      values: { ...values },
    }
    operator.apply(state, reading, { emit: (_topic, _schema, _tenant, _device, value) => void told.push(value as Anomaly) })
  }
  const again = told.find(({ ts, phase }) => ts === anomaly.ts && phase === anomaly.phase)
  if (again?.score === anomaly.score) return { status: 'same', score: again.score, readings: until }
  const seen = `${anomaly.explanation.readingsSeen} readings were known then, ${until} are stored`
  return {
    status: 'changed',
    score: again?.score ?? null,
    readings: Math.max(0, until),
    why: [again === undefined ? `nothing is raised for this reading; ${seen}` : seen],
  }
}

/** The share of the silence beyond the longest usual gap, from the figures that the anomaly carries. */
function replaySilence({ score, explanation: { observed, expected } }: Anomaly): Replayed {
  const again = observed === null || observed <= 0 ? 0 : Math.max(0, Math.min(1, 1 - (expected ?? 0) / observed))
  if (again === score) return { status: 'same', score, readings: 0 }
  return { status: 'changed', score: again, readings: 0, why: ['the figures of the silence give another score'] }
}
