import { Type, type Static } from 'typebox'
import { SeveritySchema } from '../../contracts/alert.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'
import { ConditionSchema, type Condition } from './condition.ts'

const DAY_MS = 86_400_000

/** What people say of a proactive rule: which pattern, and what agents begin when it is there. They begin; they never act. */
export const ProactiveRuleSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 120 }),
    enabled: Type.Boolean({ default: true }),
    severity: Type.Unsafe<Static<typeof SeveritySchema>>({ ...SeveritySchema, default: 'warning' }),
    when: Type.Unsafe<Condition>({ ...ConditionSchema, description: 'the pattern' }),
    cooldownMs: Type.Integer({
      minimum: 0,
      maximum: 30 * DAY_MS,
      default: DAY_MS / 4,
      description: 'ms, 0 to 30 days: the same pattern begins nothing anew for so long after it began something',
    }),
    summary: Type.String({ maxLength: 500, default: '', description: 'what it means, for people' }),
    remedy: Type.String({ maxLength: 500, default: '', description: 'what to do' }),
  },
  { additionalProperties: false },
)
export type ProactiveRuleSettings = Static<typeof ProactiveRuleSchema>

export interface ProactiveRuleDocument {
  id: string
  tenant: string
  /** The latest first; null: removed. */
  versions: { version: number; at: number; by: string; settings: ProactiveRuleSettings | null }[]
}
export type StoredProactiveRule = ProactiveRuleDocument & Stored
export const PROACTIVE_RULES_COLLECTION: CollectionSpec = { name: 'proactive-rules', indexes: [{ name: 'by-id', paths: ['tenant', 'id'] }] }

/** A rule as it is in force. `version` 0: as it comes with the platform. */
export interface ProactiveRule extends ProactiveRuleSettings {
  id: string
  ruleVersion: number
}

const HOUR_MS = 3_600_000
const matchers: [] = []

/** Those that come with the platform: a tenant may change them, and removing the change brings them back. */
export const BUILT_IN_RULES: readonly ProactiveRule[] = [
  {
    ...{
      id: 'same-cause-by-type',
      ruleVersion: 0,
      name: 'the same alert at several devices of a type',
      enabled: true,
      severity: 'warning',
    },
    when: { kind: 'same-cause', matchers, sharedBy: ['type'], devicesMin: 5, withinMs: HOUR_MS / 2, baselineMs: 24 * HOUR_MS },
    cooldownMs: 6 * HOUR_MS,
    summary: 'One thing is behind them, not many: look at what they have in common first.',
    remedy: 'See whether they got the same firmware, configuration, supply or weather. Stop what is being rolled out to them.',
  },
  {
    ...{
      id: 'same-cause-by-firmware',
      ruleVersion: 0,
      name: 'the same alert at several devices of a firmware',
      enabled: true,
      severity: 'critical',
    },
    when: { kind: 'same-cause', matchers, sharedBy: ['firmware'], devicesMin: 5, withinMs: 2 * HOUR_MS, baselineMs: 24 * HOUR_MS },
    cooldownMs: 6 * HOUR_MS,
    summary: 'Devices with this firmware (label `firmware`) have it, and others have not.',
    remedy: 'Stop the rollout, and compare with devices that have not got it.',
  },
  {
    ...{ id: 'alarm-rate', ruleVersion: 0, name: 'a device that gives more and more alarms', enabled: true, severity: 'warning' },
    when: { kind: 'alarm-rate', matchers, alertsMin: 6, withinMs: 2 * HOUR_MS, baselineMs: 24 * HOUR_MS },
    cooldownMs: 24 * HOUR_MS,
    summary: 'Each alert is small; that they become more is the news.',
    remedy: 'Inspect it before it fails. If its surroundings changed, teach the detector with feedback.',
  },
  {
    ...{
      id: 'certificates-ending',
      ruleVersion: 0,
      name: 'certificates that are not renewed, in numbers',
      enabled: true,
      severity: 'critical',
    },
    when: { kind: 'certificates', devicesMin: 10, withinMs: 14 * 24 * HOUR_MS, graceMs: 24 * HOUR_MS },
    cooldownMs: 24 * HOUR_MS,
    summary: 'These devices cannot connect any more once their certificates end.',
    remedy: 'Find what keeps them from renewing: the door, the network, a firmware. Renew some by hand to see.',
  },
  {
    ...{
      id: 'drift-to-limits',
      ruleVersion: 0,
      name: 'a metric that drifts towards the limit of a threshold rule',
      enabled: true,
      severity: 'warning',
    },
    when: { kind: 'drift', matchers, limit: null, lookBackMs: 48 * HOUR_MS, withinMs: 7 * 24 * HOUR_MS },
    cooldownMs: 24 * HOUR_MS,
    summary: 'Nothing is broken yet; it will be at the time that is given, if it goes on like this.',
    remedy: 'Plan a visit before then.',
  },
]
