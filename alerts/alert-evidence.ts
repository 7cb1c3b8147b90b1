import type { Anomaly } from '../contracts/anomaly.ts'
import { spanOf, type Evidence, type EvidenceReading, type EvidenceWindow } from '../contracts/evidence.ts'
import { TOPICS } from '../contracts/topics.ts'

/** Readings named in an alert: the first one and the latest others; the anomalies in between are kept by themselves. */
const READINGS_MAX = 8

/** What an anomaly rests on: what it says itself, or else the reading that it points at and the detector that judged it. */
export function evidenceOf(anomaly: Anomaly): Evidence {
  if (anomaly.evidence !== undefined) return { ...anomaly.evidence, readings: anomaly.evidence.readings.slice(-READINGS_MAX) }
  const { ts, explanation } = anomaly
  const { detector, detectorVersion } = explanation
  return { readings: readingsOf(anomaly), window: spanOf(startOf(anomaly), ts), versions: { detector, detectorVersion } }
}

/** The alert's evidence once another anomaly of it came. */
export function evidenceWith(before: Evidence, anomaly: Anomaly): Evidence {
  const added = evidenceOf(anomaly)
  const known = new Set(before.readings.map(placeOf))
  const readings = [...before.readings, ...added.readings.filter((reading) => !known.has(placeOf(reading)))]
  return {
    readings: readings.length <= READINGS_MAX ? readings : [...readings.slice(0, 1), ...readings.slice(1 - READINGS_MAX)],
    window: windowWith(before.window, added.window),
    versions: added.versions,
  }
}

function readingsOf({ device, metric, cause, ts, partition, offset, explanation }: Anomaly): EvidenceReading[] {
  if (offset < 0) return []
  // Of a silence it is the last one heard; when that was, the span says.
  const isReading = cause !== 'silence'
  return [
    {
      device,
      metric,
      ts: isReading ? ts : null,
      value: isReading ? explanation.observed : null,
      topic: TOPICS.readings,
      partition,
      offset,
    },
  ]
}

/** A silence begins when the device was heard last. */
function startOf({ cause, ts, explanation }: Anomaly): number {
  const { limitMs } = explanation.parameters
  return cause === 'silence' && typeof limitMs === 'number' ? ts - limitMs : ts
}

function placeOf({ topic, partition, offset, ts, metric }: EvidenceReading): string {
  return `${topic}/${partition ?? ''}/${offset ?? ''}/${ts ?? ''}/${metric}`
}

/** Spans grow; of windows the latest counts, and of one window its latest revision. */
function windowWith(before: EvidenceWindow | null, added: EvidenceWindow | null): EvidenceWindow | null {
  if (added === null || before === null) return added ?? before
  if (added.kind !== 'span' || before.kind !== 'span') return added
  return spanOf(Math.min(before.startTs, added.startTs), Math.max(before.endTs, added.endTs))
}
