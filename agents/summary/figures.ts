import { displayText } from '../evidence/tainted.ts'
import type { Claim } from './claim.ts'
import type { Names } from './investigation.ts'

/** Digits of a figure that are shown: more would say more than is known. */
const DIGITS = 4
const UNIT_LENGTH_MAX = 16

/** Plain decimal, at most four significant digits; large and tiny ones with an exponent. */
export function plainNumber(value: number): string {
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e6 || size < 1e-3) return value.toExponential(DIGITS - 1).replace(/\.?0+e/, 'e')
  return size >= 10 ** DIGITS ? String(Math.round(value)) : String(Number(value.toPrecision(DIGITS)))
}

/** A length of time in the largest unit that fits. */
export function durationText(ms: number): string {
  const size = Math.abs(ms)
  if (size < 1_000) return `${plainNumber(ms)} ms`
  if (size < 120_000) return `${plainNumber(ms / 1_000)} s`
  if (size < 7_200_000) return `${plainNumber(ms / 60_000)} min`
  return size < 172_800_000 ? `${plainNumber(ms / 3_600_000)} h` : `${plainNumber(ms / 86_400_000)} days`
}

const LARGEST_DATE_MS = 8.64e15

export function timeText(epochMs: number): string {
  return Math.abs(epochMs) <= LARGEST_DATE_MS ? new Date(epochMs).toISOString() : plainNumber(epochMs)
}

const COUNTED: Partial<Record<Claim['op'], [one: string, many: string]>> = {
  alerts: ['alert', 'alerts'],
  devices: ['device', 'devices'],
  compared: ['other compared', 'others compared'],
  together: ['changed the same way', 'changed the same way'],
  moved: ['changed too', 'changed too'],
  beyond: ['reading', 'readings'],
  longest_same: ['reading', 'readings'],
  readings: ['reading', 'readings'],
}

/** A claim's figure with its unit, for people. The only place where a figure becomes text. */
export function figureText(claim: Claim, names: Names): string {
  const { value, unit, op } = claim
  if (unit === 'ms') return durationText(value)
  if (unit === 'time') return timeText(value)
  if (unit === 'spreads') return `${plainNumber(Math.abs(value))} spreads`
  if (unit === 'times') return `${plainNumber(value)} times`
  if (unit === 'count') {
    const words = COUNTED[op]
    return words === undefined ? plainNumber(value) : `${plainNumber(value)} ${value === 1 ? words[0] : words[1]}`
  }
  if (unit !== 'metric') return plainNumber(value)
  const text = plainNumber(op === 'shift' ? Math.abs(value) : value)
  const tag = claim.metric === null ? null : names.metrics[claim.metric]?.unit
  const shown = tag == null ? '' : displayText(tag, UNIT_LENGTH_MAX)
  return shown === '' ? text : `${text} ${shown}`
}
