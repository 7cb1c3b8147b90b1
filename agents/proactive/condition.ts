import { Type, type Static, type TObject } from 'typebox'
import { InvalidInputError } from '../../kernel/errors.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { LabelMatchersSchema, type LabelMatcher } from '../../contracts/label-matcher.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const closed = { additionalProperties: false }

const within = (byDefault: number, description: string) =>
  Type.Integer({ minimum: MINUTE_MS, maximum: 90 * DAY_MS, default: byDefault, description: `ms, a minute to 90 days: ${description}` })
const baseline = Type.Integer({
  minimum: HOUR_MS,
  maximum: 30 * DAY_MS,
  default: DAY_MS,
  description: 'ms, an hour to 30 days: the time before, of which is known how much is usual',
})
const matchers = Type.Unsafe<LabelMatcher[]>({
  ...LabelMatchersSchema,
  default: [],
  description: "on `device`, `type` and the device's labels: all must hold; none: every device",
})

const SameCauseSchema = Type.Object(
  {
    kind: Type.Literal('same-cause'),
    matchers,
    sharedBy: Type.Array(Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z_][A-Za-z0-9_.-]*$' }), {
      minItems: 1,
      maxItems: 3,
      default: ['type'],
      description: 'what the devices have in common: `type`, or labels such as `firmware` or `site`, up to three',
    }),
    devicesMin: Type.Integer({ minimum: 2, maximum: 10_000, default: 5, description: 'devices that must have the same alert, 2 to 10000' }),
    withinMs: within(30 * MINUTE_MS, 'in which they must have opened'),
    baselineMs: baseline,
  },
  closed,
)
const AlarmRateSchema = Type.Object(
  {
    kind: Type.Literal('alarm-rate'),
    matchers,
    alertsMin: Type.Integer({ minimum: 2, maximum: 10_000, default: 5, description: 'alerts of one device, 2 to 10000' }),
    withinMs: within(2 * HOUR_MS, 'in which they must have opened'),
    baselineMs: baseline,
  },
  closed,
)
const CertificatesSchema = Type.Object(
  {
    kind: Type.Literal('certificates'),
    devicesMin: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 10, description: 'certificates, 1 to a million' }),
    withinMs: within(14 * DAY_MS, 'from now, in which they end'),
    graceMs: Type.Integer({
      minimum: 0,
      maximum: 90 * DAY_MS,
      default: DAY_MS,
      description: 'ms, 0 to 90 days: one that should have been renewed so long ago, and was not, counts',
    }),
  },
  closed,
)
const DriftSchema = Type.Object(
  {
    kind: Type.Literal('drift'),
    matchers,
    limit: Type.Unsafe<{ metric: string; is: 'above' | 'below'; raise: number } | null>(
      Type.Union(
        [
          Type.Object(
            {
              metric: Type.String({ minLength: 1, maxLength: 512 }),
              is: Type.Unsafe<'above' | 'below'>({ type: 'string', enum: ['above', 'below'] }),
              raise: Type.Number(),
            },
            closed,
          ),
          Type.Null(),
        ],
        {
          default: null,
          description:
            'what must not be reached, as in a threshold rule; null: the limits of all threshold rules, of the devices they concern',
        },
      ),
    ),
    lookBackMs: Type.Integer({
      minimum: 10 * MINUTE_MS,
      maximum: 30 * DAY_MS,
      default: 2 * DAY_MS,
      description: 'ms, ten minutes to 30 days, over which the trend is taken: twice the longest swing that is usual, at least',
    }),
    withinMs: within(7 * DAY_MS, 'from now, in which the limit would be reached'),
  },
  closed,
)

const KINDS = {
  'same-cause': SameCauseSchema,
  'alarm-rate': AlarmRateSchema,
  certificates: CertificatesSchema,
  drift: DriftSchema,
} as const

export type Condition = Static<(typeof KINDS)[keyof typeof KINDS]>

/** The closed vocabulary of patterns. What is left out is as its description says: `completed` fills it in. */
export const ConditionSchema = Type.Unsafe<Condition>(Type.Union(Object.values(KINDS).map(withoutDefaults)))

/** Defaults within alternatives are nobody's to apply: there they are only what may be left out. */
function withoutDefaults(schema: TObject): TObject {
  const { kind, ...rest } = schema.properties
  const optional = Object.entries(rest).map(([name, each]) => [name, Type.Optional(each)])
  return Type.Object({ kind, ...Object.fromEntries(optional) } as TObject['properties'], closed)
}

const fill = Object.fromEntries(Object.entries(KINDS).map(([kind, schema]) => [kind, compileSchema<TObject>(schema)]))

/** With everything that was left out. Its shape has been checked. */
export function completed(condition: Condition): Condition {
  const checked = fill[condition.kind]?.(structuredClone(condition))
  if (checked?.status !== 'valid')
    throw new InvalidInputError('the condition is not one of a proactive rule', { details: { field: 'when' } })
  return checked.value as Condition
}

export type ConditionKind = Condition['kind']
export type ConditionOf<K extends ConditionKind> = Extract<Condition, { kind: K }>
export const CONDITION_KINDS = ['same-cause', 'alarm-rate', 'certificates', 'drift'] as const satisfies readonly ConditionKind[]

/** A condition that is met: for what, since what, and how it can be seen. */
export interface Match {
  /** The same pattern has the same key at every look. */
  key: string
  /** What it is about, in words of ours with names from outside, for people. */
  title: string
  /** Devices concerned, the first few. */
  devices: string[]
  deviceCount: number
  /** Figures by name, for people and for checks. */
  figures: Record<string, number>
  /** What it rests on: ids of alerts, serials of certificates. */
  evidence: string[]
}
