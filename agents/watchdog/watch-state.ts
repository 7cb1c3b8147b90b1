import type { PlatformTrouble } from '../../contracts/platform-trouble.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'

/** What the watchdog sees of one part: `bad` beyond its limit, `between` where neither limit says anything new. What is well is not mentioned. */
export interface Observation extends PlatformTrouble {
  part: string
  level: 'bad' | 'between'
}

/** What is known of one part that is, or was lately, in trouble. */
export interface WatchedPart {
  part: string
  /** Since when it is bad without a break, or was when it was told. */
  since: number
  /** When it was bad last, or not well after it was told. */
  lastBadAt: number
  /** It was bad for long enough, and is told until it is well for long enough. */
  isTold: boolean
  trouble: PlatformTrouble
}

/** What has to be remembered between two looks, of whichever process: one document, and whoever looks holds its lease. */
export interface WatchDocument {
  holder: string
  leaseUntil: number
  parts: WatchedPart[]
  /** Ends of the topics of dead letters: now, and at two times before. */
  deadLetters: { topic: string; older: Mark; newer: Mark; next: number }[]
  /** When something of them changed last, by the clock of whoever looked. */
  pulses: Progress[]
  trainings: Progress[]
}
export type StoredWatch = WatchDocument & Stored

export interface Mark {
  at: number
  next: number
}
export interface Progress {
  id: string
  /** Changes with every progress. */
  mark: number
  seenAt: number
}

export const WATCH_COLLECTION: CollectionSpec = { name: 'watchdog-states', indexes: [] }
export const EMPTY_WATCH: Omit<WatchDocument, 'holder' | 'leaseUntil'> = { parts: [], deadLetters: [], pulses: [], trainings: [] }

/** Parts that are watched at a time. */
const PARTS_MAX = 1_000

/**
 * Hysteresis, pure: a part is told once it was bad for `troubleMs` without a break, and until it was well for `wellMs`. What is between its two
 * limits begins nothing and ends nothing.
 */
export function settle(
  known: readonly WatchedPart[],
  observations: readonly Observation[],
  nowMs: number,
  { troubleMs, wellMs }: { troubleMs: number; wellMs: number },
): WatchedPart[] {
  const before = new Map(known.map((each) => [each.part, each]))
  const next: WatchedPart[] = []
  for (const { part, level, ...trouble } of observations) {
    const was = before.get(part)
    before.delete(part)
    if (level === 'between' && was?.isTold !== true) continue
    const since = was?.since ?? nowMs
    next.push({ part, since, lastBadAt: nowMs, isTold: was?.isTold === true || nowMs - since >= troubleMs, trouble })
  }
  for (const was of before.values()) if (was.isTold && nowMs - was.lastBadAt < wellMs) next.push(was)
  return next.slice(0, PARTS_MAX)
}

/** When each of these last changed. What is no longer there is forgotten. */
export function progressOf(known: readonly Progress[], seen: readonly { id: string; mark: number }[], nowMs: number): Progress[] {
  const before = new Map(known.map((each) => [each.id, each]))
  return seen.map(({ id, mark }) => {
    const was = before.get(id)
    return was?.mark === mark ? was : { id, mark, seenAt: nowMs }
  })
}
