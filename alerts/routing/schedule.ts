import { Type, type Static } from 'typebox'
import { dateOf, dayNumber, epochOf, localTimeOf, parseTimeOfDay } from '../../kernel/zoned-time.ts'

const Name = Type.String({ minLength: 1, maxLength: 64 })

/** Who is on call: members take turns, changing at a time of day as a clock there shows it, whatever daylight saving does. */
export const ScheduleSchema = Type.Object(
  {
    name: Name,
    timeZone: Type.String({ minLength: 1, maxLength: 64, description: 'IANA name, for instance Europe/Berlin' }),
    startsOn: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$', description: 'date on which the first member begins' }),
    changesAt: Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$', description: 'HH:MM' }),
    everyDays: Type.Integer({ minimum: 1, maximum: 366, description: 'calendar days of one turn; 7: a week' }),
    members: Type.Array(Name, { minItems: 1, maxItems: 50, description: 'names of receivers, in turn' }),
    overrides: Type.Array(
      Type.Object(
        { from: Type.Integer({ description: 'epoch ms' }), until: Type.Integer({ description: 'epoch ms' }), member: Name },
        { additionalProperties: false },
      ),
      { maxItems: 200, default: [], description: 'the last one that covers a time wins' },
    ),
  },
  { additionalProperties: false },
)
export type Schedule = Static<typeof ScheduleSchema>

/** The member on call at this time. Before the start the turns are counted backwards. */
export function onCallAt(schedule: Schedule, nowMs: number): string {
  const override = schedule.overrides.findLast(({ from, until }) => from <= nowMs && nowMs < until)
  if (override !== undefined) return override.member
  const { timeZone, changesAt, startsOn, everyDays, members } = schedule
  const [year = 1970, month = 1, day = 1] = startsOn.split('-').map(Number)
  const today = dayNumber(localTimeOf(timeZone, nowMs))
  const change = epochOf(timeZone, { ...dateOf(today), ...parseTimeOfDay(changesAt) })
  const shiftDay = nowMs < change ? today - 1 : today
  const turn = Math.floor((shiftDay - dayNumber({ year, month, day })) / everyDays)
  return members[((turn % members.length) + members.length) % members.length] as string
}
