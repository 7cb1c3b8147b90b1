import { Type, type Static } from 'typebox'
import { LabelMatchersSchema } from '../../contracts/label-matcher.ts'
import { dateOf, dayNumber, epochOf, localTimeOf, parseTimeOfDay, weekdayOf } from '../../kernel/zoned-time.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const DURATION_MAX_MS = 7 * DAY_MS

export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const

/** Once, from one instant to another. */
const OnceSchema = Type.Object(
  { from: Type.Integer({ description: 'epoch ms' }), until: Type.Integer({ description: 'epoch ms, after `from`' }) },
  { additionalProperties: false },
)
/** Every week on these days, at a time of day as a clock there shows it. */
const WeeklySchema = Type.Object(
  {
    timeZone: Type.String({ minLength: 1, maxLength: 64, description: 'IANA name, for instance Europe/Berlin' }),
    days: Type.Array(Type.Unsafe<(typeof WEEKDAYS)[number]>({ type: 'string', enum: [...WEEKDAYS] }), {
      minItems: 1,
      maxItems: 7,
      uniqueItems: true,
    }),
    at: Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$', description: 'HH:MM' }),
    durationMs: Type.Integer({ minimum: MINUTE_MS, maximum: DURATION_MAX_MS, description: 'ms of real time, a minute to a week' }),
  },
  { additionalProperties: false },
)

export const MaintenanceSettingsSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    matchers: LabelMatchersSchema,
    once: Type.Optional(OnceSchema),
    weekly: Type.Optional(WeeklySchema),
  },
  { additionalProperties: false },
)
export type MaintenanceSettings = Static<typeof MaintenanceSettingsSchema>

/** While it is on, alerts that match are recorded and nobody is told. */
export const MaintenanceWindowSchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  ...MaintenanceSettingsSchema.properties,
  createdBy: Type.String(),
  createdAt: Type.Integer(),
  updatedAt: Type.Integer(),
})
export type MaintenanceWindow = Static<typeof MaintenanceWindowSchema>
export type StoredWindow = MaintenanceWindow & Stored

export const MAINTENANCE_COLLECTION: CollectionSpec = {
  name: 'maintenance-windows',
  indexes: [{ name: 'newest', paths: ['tenant', 'id'] }],
}

/** The end of the occurrence that is on at this time, epoch ms; null when none is. */
export function activeUntil(window: Pick<MaintenanceWindow, 'once' | 'weekly'>, nowMs: number): number | null {
  const { once } = window
  if (once !== undefined) return once.from <= nowMs && nowMs < once.until ? once.until : null
  const ends = occurrences(window, nowMs)
    .filter(({ from, until }) => from <= nowMs && nowMs < until)
    .map(({ until }) => until)
  return ends.length === 0 ? null : Math.max(...ends)
}

/** When it is on next, or is on now; null: never again. */
export function nextOccurrence(window: Pick<MaintenanceWindow, 'once' | 'weekly'>, nowMs: number): { from: number; until: number } | null {
  const { once } = window
  if (once !== undefined) return nowMs < once.until ? once : null
  return (
    occurrences(window, nowMs)
      .filter(({ until }) => nowMs < until)
      .toSorted((a, b) => a.from - b.from)[0] ?? null
  )
}

/** Of a weekly window, those around now: from as long ago as one can last to a week ahead. */
function occurrences({ weekly }: Pick<MaintenanceWindow, 'weekly'>, nowMs: number): { from: number; until: number }[] {
  if (weekly === undefined) return []
  const today = dayNumber(localTimeOf(weekly.timeZone, nowMs))
  const back = Math.ceil(weekly.durationMs / DAY_MS) + 1
  const found: { from: number; until: number }[] = []
  for (let day = today - back; day <= today + 7; day++) {
    const weekday = WEEKDAYS[weekdayOf(day)]
    if (weekday === undefined || !weekly.days.includes(weekday)) continue
    const from = epochOf(weekly.timeZone, { ...dateOf(day), ...parseTimeOfDay(weekly.at) })
    found.push({ from, until: from + weekly.durationMs })
  }
  return found
}
