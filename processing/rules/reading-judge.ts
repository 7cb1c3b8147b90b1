import type { MetricValue } from '../../contracts/reading.ts'
import type { RuleTrack, Said, SeenReading } from './rule-track.ts'
import { verdictOf, type RuleSettings } from './rule.ts'

/**
 * A value of a reading judged by a rule; changes the track. Readings are taken in the order of the log. One that was overtaken breaks a rule
 * without a duration, as it would have in time, and ends a wait for a duration that it falls into; it neither clears nor repeats anything.
 */
export function judgeReading(track: RuleTrack, rule: RuleSettings, reading: SeenReading, repeatMs: number): Said | null {
  const verdict = verdictOf(rule, reading.value)
  if (verdict === null) return null
  if (reading.ts < track.lastTs) return overtaken(track, rule, reading, verdict === 'breach')
  track.lastTs = reading.ts
  if (track.raised) {
    if (verdict === 'fine') return over(track)
    return reading.ts - track.toldTs >= repeatMs ? told(track, reading.ts, 'repeated') : null
  }
  if (verdict !== 'breach') {
    track.since = null
    return null
  }
  track.since ??= reading
  return reading.ts - track.since.ts >= rule.forMs ? told(track, reading.ts, 'raised') : null
}

/** The short way for most values: nothing was wrong and nothing is. */
export function staysFine(track: RuleTrack, rule: RuleSettings, ts: number, value: MetricValue): boolean {
  if (track.raised || track.since !== null || ts < track.lastTs || verdictOf(rule, value) === 'breach') return false
  track.lastTs = ts
  return true
}

function overtaken(track: RuleTrack, { forMs }: RuleSettings, reading: SeenReading, isBreach: boolean): Said | null {
  if (track.raised) return null
  if (isBreach && forMs === 0) {
    track.since = reading
    return told(track, reading.ts, 'raised')
  }
  if (!isBreach && track.since !== null && reading.ts >= track.since.ts) track.since = null
  return null
}

function told(track: RuleTrack, ts: number, said: Said): Said {
  track.raised = true
  track.toldTs = ts
  return said
}

function over(track: RuleTrack): Said {
  track.raised = false
  track.since = null
  return 'cleared'
}
