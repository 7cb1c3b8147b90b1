const DAY_MS = 86_400_000
const WEEK_MS = 7 * DAY_MS

/** A profile of typical values by the place of event time (UTC) in a repeating period; where it lies in a series' memory. */
export interface SeasonProfile {
  readonly periodMs: number
  readonly binMs: number
  readonly offset: number
  /** Rounds of the period that a bin's mean looks back on. */
  readonly rounds: number
}

/** The profile of a day: quarters of an hour, about five days. */
export function dayProfile(offset: number, bins: number): SeasonProfile {
  return { periodMs: DAY_MS, binMs: DAY_MS / bins, offset, rounds: 5 }
}

/** The profile of a week: pairs of hours, about three weeks. */
export function weekProfile(offset: number, bins: number): SeasonProfile {
  return { periodMs: WEEK_MS, binMs: WEEK_MS / bins, offset, rounds: 3 }
}

/** Place in memory of the bin that this instant falls into. */
export function binOf(profile: SeasonProfile, tsMs: number): number {
  return profile.offset + Math.floor(phaseOf(profile, tsMs) / profile.binMs)
}

/**
 * Moves the bin's mean towards a value. The step is one over the samples that the bin has had, told from the time since the
 * series began and the sampling interval, so that no counter is kept per bin.
 */
export function learnBin(
  memory: Float32Array,
  profile: SeasonProfile,
  tsMs: number,
  value: number,
  sinceFirstMs: number,
  intervalMs: number,
): void {
  const bin = binOf(profile, tsMs)
  const mean = memory[bin]!
  if (Number.isNaN(mean)) {
    memory[bin] = value
    return
  }
  const samplesPerVisit = profile.binMs / intervalMs
  const rounds = Math.min(profile.rounds, Math.max(0, Math.floor(sinceFirstMs / profile.periodMs)))
  const thisVisit = rounds < profile.rounds ? (phaseOf(profile, tsMs) % profile.binMs) / intervalMs : 0
  memory[bin] = mean + (value - mean) / (1 + samplesPerVisit * rounds + thisVisit)
}

function phaseOf(profile: SeasonProfile, tsMs: number): number {
  const phase = tsMs % profile.periodMs
  return phase < 0 ? phase + profile.periodMs : phase
}
