import { createHash } from 'node:crypto'
import type { Severity } from '../../contracts/alert.ts'

/** What another system says of one trouble, read and bounded. Its texts are still the other system's: shown to people as text, never in a prompt. */
export interface ExternalAlert {
  /** Names the trouble for good: whoever says the same again has said nothing new. 32 hex digits. */
  identity: string
  phase: 'raised' | 'cleared'
  name: string
  /** As the other system calls the device; null where it names none. */
  device: string | null
  severity: Severity
  /** When the trouble began, epoch ms. */
  startsAt: number
  /** When it was over, epoch ms; null while it lasts. */
  endsAt: number | null
  /** One line each; empty where nothing is said. */
  summary: string
  description: string
  /** What to do, or where that is written. */
  remedy: string
  /** Which system says so. */
  source: string
  labels: Readonly<Record<string, string>>
}

export type ReadAlert = { status: 'read'; alert: ExternalAlert } | { status: 'refused'; problem: string }

/** Bounds of what is kept of a text, in code points. */
export const NAME_LENGTH_MAX = 128
export const TEXT_LENGTH_MAX = 512
export const LABELS_MAX = 64
/** Labels that are shown; the identity is made of all. */
const LABELS_KEPT_MAX = 20
/** A sender's clock may be ahead so far, in ms. */
const AHEAD_MAX_MS = 600_000
/** Nothing began before there were such systems: 2000-01-01. */
const EARLIEST_MS = 946_684_800_000

/** What other systems call what ours calls critical; everything else is a warning. */
const CRITICAL = new Set(['critical', 'crit', 'page', 'fatal', 'emergency', 'disaster'])

export function severityOf(said: string | undefined): Severity {
  return CRITICAL.has((said ?? '').toLowerCase()) ? 'critical' : 'warning'
}

/** One line of plain text: no controls, formats, separators of lines or halves of pairs, at most `lengthMax` code points. */
export function plainLine(text: string, lengthMax: number): string {
  const plain = text
    .slice(0, lengthMax * 4)
    .normalize('NFKC')
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/[\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu, '')
    .replace(/ {2,}/gu, ' ')
    .trim()
  const points = Array.from(plain)
  return points.length <= lengthMax ? plain : `${points.slice(0, lengthMax - 1).join('')}…`
}

/** The first labels by name, as they may be shown. */
export function plainLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const named = Object.entries(labels).toSorted(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(
    named.slice(0, LABELS_KEPT_MAX).map(([name, value]) => [plainLine(name, NAME_LENGTH_MAX), plainLine(value, NAME_LENGTH_MAX)]),
  )
}

/** A digest of what names a trouble; text may be anything, halves of pairs too. */
export function identityOf(of: readonly (string | number)[]): string {
  return createHash('sha256').update(JSON.stringify(of)).digest('hex').slice(0, 32)
}

/** The same labels in any order are the same. */
export function labelsInOrder(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .flat()
}

/** The span of a trouble, or why it cannot be one. */
export function spanOfTrouble(
  of: { phase: ExternalAlert['phase']; startsAt: string; endsAt: string | undefined },
  nowMs: number,
): { startsAt: number; endsAt: number | null } | string {
  const startsAt = Date.parse(of.startsAt)
  if (!isPossible(startsAt, nowMs)) return `startsAt: not between 2000-01-01 and ${AHEAD_MAX_MS / 60_000} minutes from now`
  if (of.phase === 'raised') return { startsAt, endsAt: null }
  const endsAt = of.endsAt === undefined ? nowMs : Date.parse(of.endsAt)
  if (!isPossible(endsAt, nowMs)) return `endsAt: not between 2000-01-01 and ${AHEAD_MAX_MS / 60_000} minutes from now`
  return endsAt < startsAt ? 'endsAt: before startsAt' : { startsAt, endsAt }
}

function isPossible(ms: number, nowMs: number): boolean {
  return Number.isSafeInteger(ms) && ms >= EARLIEST_MS && ms <= nowMs + AHEAD_MAX_MS
}
