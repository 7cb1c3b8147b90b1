import { Type, type Static } from 'typebox'

/** What is looked for; each has a test with a fleet made to fail it. */
export const SECURITY_CHECKS = [
  'key-shared',
  'certificate-shared',
  'revoked-seen',
  'ca-expiring',
  'key-weak',
  'signature-weak',
  'certificate-permissive',
  'policy-permissive',
  'never-rotated',
] as const
export type SecurityCheck = (typeof SECURITY_CHECKS)[number]

/** Worst first. */
export const FINDING_SEVERITIES = ['critical', 'high', 'medium', 'low'] as const
export type FindingSeverity = (typeof FINDING_SEVERITIES)[number]

/** One weakness of one thing. It stays open until a later check no longer finds it. */
export const FindingSchema = Type.Object({
  id: Type.String({ description: 'the same for the same weakness of the same thing' }),
  tenant: Type.String(),
  check: Type.Unsafe<SecurityCheck>({ type: 'string', enum: [...SECURITY_CHECKS] }),
  severity: Type.Unsafe<FindingSeverity>({ type: 'string', enum: [...FINDING_SEVERITIES] }),
  subject: Type.Object({ kind: Type.String({ description: '`device`, `ca` or `setting`' }), id: Type.String() }),
  device: Type.Union([Type.String(), Type.Null()], { description: 'whose score it lowers; null for what concerns the platform' }),
  title: Type.String({ description: 'one sentence with what was seen' }),
  remedy: Type.String({ description: 'one sentence with what to do' }),
  evidence: Type.Record(Type.String(), Type.Unknown(), { description: 'serials, keys, addresses, times: what it rests on' }),
  state: Type.Union([Type.Literal('open'), Type.Literal('resolved')]),
  firstSeenAt: Type.Integer({ description: 'epoch ms; of this time that it is open' }),
  lastSeenAt: Type.Integer({ description: 'epoch ms' }),
  resolvedAt: Type.Union([Type.Integer(), Type.Null()]),
  suppressedUntil: Type.Integer({ description: 'epoch ms; until then it neither counts nor alerts. 0: not suppressed' }),
  suppressedBy: Type.Union([Type.String(), Type.Null()]),
  suppressedWhy: Type.Union([Type.String(), Type.Null()]),
})
export type Finding = Static<typeof FindingSchema>
