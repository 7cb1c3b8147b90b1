import { Type, type Static } from 'typebox'
import { compileSchema } from '../../kernel/schema.ts'
import { InternalError } from '../../kernel/errors.ts'

const DAY_MS = 86_400_000

/** The audit trail: how it is written, sealed and cut. */
export const AuditConfigSchema = Type.Object(
  {
    blockEntriesMax: Type.Integer({
      default: 200,
      minimum: 1,
      maximum: 300,
      description:
        'Entries that become durable in one step. A bulk act waits for few flushes; three index entries for each stay within documents.indexEntriesMax.',
    }),
    waitingEntriesMax: Type.Integer({
      default: 20_000,
      minimum: 100,
      maximum: 1_000_000,
      description:
        'Entries of one process that may wait to become durable, about 1 kB each; more are refused, and so is the act that they tell of.',
    }),
    checkpointIntervalMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 1_800_000,
      description:
        'ms between looks at whether a chain grew; its new end is then signed. What lies behind the last checkpoint could be removed unnoticed.',
    }),
    entriesMax: Type.Integer({
      default: 500_000,
      minimum: 1_000,
      maximum: 1_000_000_000,
      description: 'Entries kept per tenant, about 1 kB each; the oldest go first, behind a signed cut.',
    }),
    retentionMs: Type.Integer({
      default: 400 * DAY_MS,
      minimum: DAY_MS,
      maximum: 36_500 * DAY_MS,
      description: 'Entries older than this are cut, in ms. The default keeps a year and what surrounds its ends.',
    }),
    retentionCheckMs: Type.Integer({
      default: 3_600_000,
      minimum: 1_000,
      maximum: DAY_MS,
      description: 'How often old entries are cut, in ms.',
    }),
    refusalWindowMs: Type.Integer({
      default: 60_000,
      minimum: 1_000,
      maximum: DAY_MS,
      description:
        'Refused and failed requests of one kind, actor and address within so many ms are told by two entries: the first, and the number of the rest.',
    }),
    refusalKindsMax: Type.Integer({
      default: 500,
      minimum: 1,
      maximum: 100_000,
      description: 'Kinds of refused requests told apart within that time; further ones are counted together.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type AuditConfig = Static<typeof AuditConfigSchema>

const check = compileSchema(AuditConfigSchema)

/** The documented defaults, with some changed. */
export function auditConfig(changes: Partial<AuditConfig> = {}): AuditConfig {
  const checked = check({ ...changes })
  if (checked.status === 'valid') return checked.value
  throw new InternalError('the audit settings do not keep to their own schema', { details: { faults: checked.faults } })
}
