import { Type, type Static } from 'typebox'
import { LabelMatchersSchema } from '../../contracts/label-matcher.ts'

export const IMPACTS = ['low', 'normal', 'high'] as const
/** What an anomaly of a metric means to those who run it. */
export type Impact = (typeof IMPACTS)[number]

const Pattern = (of: string) => Type.String({ default: '*', minLength: 1, maxLength: 128, description: `${of}; \`*\` stands for any text` })
const novelty = (of: string) => Type.Number({ minimum: 0.05, maximum: 1, description: `novelty, 0.05 to 1, in place of anomaly.${of}` })

/** Settings of their own for some metrics of some devices. */
export const PolicySchema = Type.Object(
  {
    type: Pattern('device type'),
    metric: Pattern('metric; what concerns several metrics of a device together goes by policies for `*`'),
    device: Pattern('id of the device'),
    matchers: Type.Optional(LabelMatchersSchema),
    alertThreshold: Type.Optional(novelty('alertThreshold')),
    criticalThreshold: Type.Optional(novelty('criticalThreshold')),
    impact: Type.Optional(
      Type.Unsafe<Impact>({ type: 'string', enum: [...IMPACTS], description: 'what its anomalies mean, in place of anomaly.impact' }),
    ),
  },
  { additionalProperties: false },
)
export type Policy = Static<typeof PolicySchema>

/** Collections: the policies of tenants, and from where in the readings topic on they hold. */
export const POLICIES_COLLECTION = 'anomaly-policies'
export const POLICY_ADOPTIONS_COLLECTION = 'anomaly-policy-adoptions'

/** All policies of a tenant, in the place of those before. Numbers have no gaps over all tenants; a change is never altered. */
export interface PolicyChange {
  number: number
  tenant: string
  policies: Policy[]
  by: string
  at: number
}
