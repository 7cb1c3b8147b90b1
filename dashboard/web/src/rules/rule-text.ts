import type { RuleSettings } from '../api/alerting-types.ts'
import { duration } from '../ui/format.ts'

export const AGGREGATES = ['min', 'max', 'mean', 'stddev', 'first', 'last', 'p95', 'count', 'change', 'rate'] as const

/** `p95 of pressure in 1 min is above 80 for 5 min`. */
export function conditionText({ metric, on, is, raise, forMs }: RuleSettings): string {
  const subject = on.kind === 'windows' ? `${on.aggregate} of ${metric} in ${duration(on.sizeMs)}` : metric
  const last = forMs === 0 ? '' : ` for ${duration(forMs)}`
  return `${subject} is ${is === 'not-equal' ? 'not equal to' : is === 'equal' ? 'equal to' : is} ${String(raise)}${last}`
}

/** What a form says as text, as settings: a limit that reads as a number or as true or false is one. */
export function limitOf(text: string): number | boolean | string {
  const plain = text.trim()
  if (plain === 'true' || plain === 'false') return plain === 'true'
  return plain !== '' && Number.isFinite(Number(plain)) ? Number(plain) : plain
}
