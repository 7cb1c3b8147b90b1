import { Type, type Static } from 'typebox'
import { SeveritySchema } from '../../contracts/alert.ts'
import { LabelMatchersSchema } from '../../contracts/label-matcher.ts'
import type { WindowSpec } from '../windows/config.ts'

const DAY_MS = 86_400_000

/** Figures of a window that a rule may judge; `change` is last less first, `rate` that per second of the window. */
export const AGGREGATES = ['min', 'max', 'mean', 'stddev', 'first', 'last', 'p95', 'count', 'change', 'rate'] as const
export type Aggregate = (typeof AGGREGATES)[number]

const OnReadingsSchema = Type.Object({ kind: Type.Literal('readings') }, { additionalProperties: false })
const OnWindowsSchema = Type.Object(
  {
    kind: Type.Literal('windows'),
    window: Type.Union([Type.Literal('tumbling'), Type.Literal('hopping')]),
    sizeMs: Type.Integer({ minimum: 1, maximum: DAY_MS, description: 'ms; a window of this kind and size must be configured' }),
    aggregate: Type.Unsafe<Aggregate>({ type: 'string', enum: [...AGGREGATES] }),
  },
  { additionalProperties: false },
)

/** What people say of a rule. */
export const RuleSettingsSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 120 }),
    enabled: Type.Boolean({ default: true }),
    matchers: Type.Unsafe<Static<typeof LabelMatchersSchema>>({
      ...LabelMatchersSchema,
      default: [],
      description: "on `device`, `type` and the device's labels: all must hold; none: every device",
    }),
    metric: Type.String({ minLength: 1, maxLength: 512 }),
    on: Type.Unsafe<Static<typeof OnReadingsSchema> | Static<typeof OnWindowsSchema>>({
      ...Type.Union([OnReadingsSchema, OnWindowsSchema]),
      default: { kind: 'readings' },
      description: 'each reading, or a figure of each window',
    }),
    is: Type.Unsafe<'above' | 'below' | 'equal' | 'not-equal'>({ type: 'string', enum: ['above', 'below', 'equal', 'not-equal'] }),
    raise: Type.Union([Type.Number(), Type.Boolean(), Type.String({ maxLength: 200 })], {
      description: 'a number for `above` and `below`, which it must pass; booleans count as 0 and 1 there',
    }),
    clear: Type.Optional(
      Type.Number({ description: 'of `above` and `below`: it is over once the value is back at this or better; absent: at `raise`' }),
    ),
    forMs: Type.Integer({
      minimum: 0,
      maximum: 7 * DAY_MS,
      default: 0,
      description: 'ms of event time, 0 to a week, that it must have held on; a value counts until the next one',
    }),
    severity: SeveritySchema,
    summary: Type.String({ maxLength: 500, default: '', description: 'what it means, for people' }),
    remedy: Type.String({ maxLength: 500, default: '', description: 'what to do' }),
  },
  { additionalProperties: false },
)
export type RuleSettings = Static<typeof RuleSettingsSchema>

export interface RuleFault {
  /** Dotted, from the root of what was sent. */
  path: string
  problem: string
}

/** What keeps a rule from being, beyond its shape. */
export function ruleFaults({ is, raise, clear, on }: RuleSettings, windows: readonly WindowSpec[]): RuleFault[] {
  const faults: RuleFault[] = []
  const isOrdered = is === 'above' || is === 'below'
  if (isOrdered && typeof raise !== 'number') faults.push({ path: 'raise', problem: `must be a number for "${is}"` })
  if (!isOrdered && clear !== undefined) faults.push({ path: 'clear', problem: `"${is}" is over when it no longer holds; leave it out` })
  if (is === 'above' && typeof raise === 'number' && clear !== undefined && clear > raise)
    faults.push({ path: 'clear', problem: `${clear} is above raise (${raise}): it would be over while it holds` })
  if (is === 'below' && typeof raise === 'number' && clear !== undefined && clear < raise)
    faults.push({ path: 'clear', problem: `${clear} is below raise (${raise}): it would be over while it holds` })
  if (on.kind === 'windows') {
    if (!isOrdered) faults.push({ path: 'is', problem: 'a figure of a window is above or below something' })
    if (!windows.some(({ kind, sizeMs }) => kind === on.window && sizeMs === on.sizeMs)) {
      const known = windows.map(({ kind, sizeMs }) => `${kind} of ${sizeMs} ms`).join(', ')
      faults.push({ path: 'on.sizeMs', problem: `there is no ${on.window} window of ${on.sizeMs} ms; there are ${known}` })
    }
  }
  return faults
}

export type Verdict = 'breach' | 'between' | 'fine'

/** How a value stands to a rule: broken, no longer broken, or between the two, where what was stays. Null: it is no value of that kind. */
export function verdictOf(
  { is, raise, clear }: Pick<RuleSettings, 'is' | 'raise' | 'clear'>,
  value: number | boolean | string,
): Verdict | null {
  if (is === 'equal') return value === raise ? 'breach' : 'fine'
  if (is === 'not-equal') return value === raise ? 'fine' : 'breach'
  if (typeof value === 'string' || typeof raise !== 'number') return null
  const sign = is === 'above' ? 1 : -1
  const height = sign * Number(value)
  if (height > sign * raise) return 'breach'
  return height <= sign * (clear ?? raise) ? 'fine' : 'between'
}
