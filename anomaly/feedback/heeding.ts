import type { FeedbackRule } from '../../contracts/feedback-change.ts'
import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import { beginning } from '../anomaly-lifecycle.ts'
import type { AnomalyMetrics } from '../anomaly-metrics.ts'
import type { AnomalyConfig } from '../config.ts'
import type { DeviceAnomalyState } from '../device-anomaly-state.ts'
import { findingOf, isWarm, type Detectors, type MetricTrack, type Quiet, type Raised } from '../metric-track.ts'
import { INTERVAL_MS } from '../series-state.ts'
import { BURST_TELLS_AFTER, COURSE_READINGS, goesLike, type Course } from './course.ts'
import { beyond, usualReach } from './local-level.ts'
import { likeOf, patternOf } from './pattern.ts'
import type { FeedbackView } from './rule.ts'

/** The like of a rejected event may last so many times as long, and this many readings more. */
const LONGER = 1.5
const READINGS_MORE = 3

/** A value with its novelty, and the anomaly of its metric before it. */
export interface Judged {
  readonly state: DeviceAnomalyState
  readonly track: MetricTrack
  readonly reading: LoggedReading
  readonly metric: string
  readonly value: MetricValue
  readonly novelty: number
  readonly before: Raised | null
  /** Settings for this metric of this type. */
  readonly config: AnomalyConfig
}

/** A rule whose anomaly this is like, and how it ought to go on. */
interface Like {
  readonly rule: FeedbackRule
  readonly course: Course | null
}

export interface HeedingOptions {
  feedback: FeedbackView
  detectors: Detectors
  anomalyMetrics: AnomalyMetrics
}

/**
 * What people said of earlier anomalies, brought to bear on a step of an anomaly's life: the like of a rejected one is under way without
 * anybody hearing of it, as long as it is neither longer nor larger; the like of a confirmed one is raised at a lower novelty.
 */
export class Heeding {
  readonly #options: HeedingOptions

  constructor(options: HeedingOptions) {
    this.#options = options
  }

  /** Updates the track's anomaly; what becomes of the step, and the feedback that brought a `raised` about. */
  heed(step: 'raised' | 'cleared' | 'none', judged: Judged): { phase: 'raised' | 'cleared' | 'none'; confirmedBy?: string } {
    const { before, track } = judged
    if (before === null) {
      const begun = this.#beginning(step, judged)
      if (track.raised !== null && track.kind !== 'string') track.raised.reach = usualReach(track.state)
      return begun
    }
    noteCourse(before, judged)
    if (before.quiet === undefined) return { phase: step }
    if (step === 'cleared' || !this.#outgrows(before, before.quiet, judged)) return { phase: 'none' }
    delete before.quiet
    return { phase: 'raised' }
  }

  #beginning(step: 'raised' | 'cleared' | 'none', judged: Judged): ReturnType<Heeding['heed']> {
    const { track, reading, novelty, config } = judged
    const { detectors, anomalyMetrics } = this.#options
    if (step === 'none' && (novelty < config.confirmedThreshold || !isWarm(detectors, track))) return { phase: 'none' }
    const like = this.#ruleLike(step === 'none' ? 'confirmed' : 'rejected', judged)
    if (like === undefined) return { phase: step }
    if (step === 'none') {
      track.raised = beginning(novelty, reading.ts, config)
      anomalyMetrics.sooner.inc()
      return { phase: 'raised', confirmedBy: like.rule.id }
    }
    if (track.raised !== null) track.raised.quiet = this.#quietBy(like, judged)
    anomalyMetrics.quieted.inc()
    return { phase: 'none' }
  }

  /** The first that was given, so that it does not matter in which order they are asked for. */
  #ruleLike(verdict: FeedbackRule['verdict'], judged: Judged): Like | undefined {
    const { state, track, reading, metric, value, novelty } = judged
    const { feedback, detectors } = this.#options
    const rules = feedback.rulesFor(state.tenant, state.type, state.device, metric, reading.partition, reading.offset)
    const own = rules.filter((rule) => rule.verdict === verdict)
    if (own.length === 0) return undefined
    const pattern = patternOf(track, value, findingOf(detectors, track, value, reading.ts), novelty)
    for (const rule of own.sort((a, b) => (a.id < b.id ? -1 : 1))) {
      const like = likeOf({ pattern: rule.pattern, course: rule.event?.course ?? null }, pattern)
      if (like !== undefined) return { rule, ...like }
    }
    return undefined
  }

  #quietBy({ rule: { id, event, pattern }, course }: Like, { track, reading, config }: Judged): Quiet {
    const intervalMs = track.kind === 'string' ? 0 : track.state.fast.core[INTERVAL_MS]!
    const likeMs = event === null ? config.rejectedQuietMs : LONGER * event.durationMs + READINGS_MORE * intervalMs
    const peakScore = event?.peakScore ?? pattern.score
    return {
      feedback: id,
      course,
      untilTs: reading.ts + Math.min(config.rejectedQuietMs, Math.max(likeMs, config.clearAfterMs)),
      peakMax: peakScore + (1 - peakScore) / 2,
    }
  }

  #outgrows({ course }: Raised, { untilTs, peakMax, course: rejected }: Quiet, { novelty, reading, config }: Judged): boolean {
    if (rejected !== null && course !== undefined && (course.length <= BURST_TELLS_AFTER || novelty >= config.normalBelow)) {
      if (!goesLike(course, rejected)) return true
    }
    return novelty > peakMax || (novelty >= config.alertThreshold && reading.ts > untilTs)
  }
}

function noteCourse(raised: Raised, { track, value }: Judged): void {
  if (raised.reach === undefined || track.kind === 'string') return
  const course = (raised.course ??= [])
  if (course.length <= COURSE_READINGS) course.push(beyond(track.state, Number(value), 0, raised.reach))
}
