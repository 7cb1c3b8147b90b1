import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

const DAY_MS = 86_400_000

/** Settings of threshold rules. */
export const RulesConfigSchema = Type.Object(
  {
    rulesMax: Type.Integer({
      minimum: 1,
      maximum: 2_000,
      default: 200,
      description: 'rules of one tenant, 1 to 2000: a device that all of them concern remembers about 200 bytes for each',
    }),
    refreshMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 1_000,
      description: 'ms, 100 to 60000: how often rules changed by another process are read',
    }),
    activationMs: Type.Integer({
      minimum: 200,
      maximum: 600_000,
      default: 3_000,
      description:
        'ms, at least twice refreshMs: a changed rule judges what is received from so long after the change on, when every process knows it, so that a replay judges as the first time',
    }),
    repeatMs: Type.Integer({
      minimum: 1_000,
      maximum: DAY_MS,
      default: 300_000,
      description:
        'ms of event time, a second to a day: how often a rule that goes on being broken says so again; an alert that somebody resolved meanwhile opens anew',
    }),
    versionsKept: Type.Integer({
      minimum: 1,
      maximum: 50,
      default: 8,
      description: 'versions of a rule kept, 1 to 50: readings replayed after a crash are judged by the one of their time',
    }),
    goneKeptMs: Type.Integer({
      minimum: 60_000,
      maximum: 30 * DAY_MS,
      default: DAY_MS,
      description: 'ms, a minute to 30 days, that a removed rule is remembered, so that every process clears what it raised',
    }),
    heldWindowsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 64,
      description:
        'verdicts on windows kept per rule and device, 1 to 10000: a correction of an older window changes no alert; those that may still be corrected are kept up to here',
    }),
    previewDevicesMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 50,
      description: 'devices that a preview looks at, 1 to 10000; it says when there were more',
    }),
    previewReadingsMax: Type.Integer({
      minimum: 100,
      maximum: 5_000_000,
      default: 200_000,
      description: 'stored readings that a preview goes through, 100 to 5000000: about a second; it says when there were more',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type RulesConfig = Static<typeof RulesConfigSchema>

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckRulesConfig(config: RulesConfig, section: string): ConfigFault[] {
  if (config.activationMs >= 2 * config.refreshMs) return []
  return [
    {
      key: `${section}.activationMs`,
      problem: `${config.activationMs} is shorter than twice refreshMs`,
      allowed: `at least ${2 * config.refreshMs}`,
    },
  ]
}
