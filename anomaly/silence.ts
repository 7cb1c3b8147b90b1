import type { LoggedReading } from '../contracts/reading.ts'
import type { AnomalyConfig } from './config.ts'

/** What is known of when a device speaks, in receive time: a recording of years ago that is replayed now is not silent. */
export interface SilenceState {
  /** Receive time of the latest reading, 0 before the first, and where it is. */
  lastReceivedAt: number
  lastPartition: number
  lastOffset: number
  lastCorrelationId: string
  /** Longest usual gap, forgetting slowly. */
  gapMs: number
  readings: number
  /** The silence under way: from when, and by which limit; null while the device speaks. */
  under: { sinceMs: number; limitMs: number; learnt: boolean } | null
  /** Not stored: since when this process may count the device as silent. 0 = to be told by the next tick. */
  countFromMs: number
}

/** A gap that is not the longest lowers the longest by this share of their difference. */
const FORGET = 0.02

export function newSilence(): SilenceState {
  return { lastReceivedAt: 0, lastPartition: 0, lastOffset: 0, lastCorrelationId: '', gapMs: 0, readings: 0, under: null, countFromMs: 0 }
}

/** Takes a reading's receive time. A gap teaches at most the limit that it broke, so that one outage does not hide the next. */
export function learnGap(silence: SilenceState, reading: LoggedReading, config: AnomalyConfig): void {
  if (silence.readings > 0) {
    const most = silence.readings > config.silenceMinReadings ? learntLimitMs(silence, config) : config.silenceMaxMs
    const gapMs = Math.max(0, Math.min(reading.receivedAt - silence.lastReceivedAt, most))
    silence.gapMs = gapMs > silence.gapMs ? gapMs : silence.gapMs + (gapMs - silence.gapMs) * FORGET
  }
  silence.lastReceivedAt = Math.max(silence.lastReceivedAt, reading.receivedAt)
  silence.lastPartition = reading.partition
  silence.lastOffset = reading.offset
  silence.lastCorrelationId = reading.correlationId
  silence.readings++
  silence.countFromMs = 0
}

/** After how many ms without a reading the device is silent; 0 = never. `typeLimitMs`: what its type says, null when it says nothing. */
export function silenceLimitMs(silence: SilenceState, typeLimitMs: number | null, config: AnomalyConfig): number {
  if (silence.readings === 0) return 0
  if (typeLimitMs !== null) return typeLimitMs
  return silence.readings < config.silenceMinReadings ? 0 : learntLimitMs(silence, config)
}

/**
 * For how long the device has been silent as far as this process can tell. A process that was down, or is behind with reading the log,
 * must not hold its own absence against the device: it counts from its first look at a state whose latest reading is old already.
 */
export function silentForMs(silence: SilenceState, nowMs: number, limitMs: number): number {
  if (silence.countFromMs === 0) silence.countFromMs = nowMs - silence.lastReceivedAt <= limitMs ? silence.lastReceivedAt : nowMs
  return nowMs - silence.countFromMs
}

function learntLimitMs(silence: SilenceState, config: AnomalyConfig): number {
  return Math.min(config.silenceMaxMs, Math.max(config.silenceMinMs, config.silenceFactor * silence.gapMs))
}
