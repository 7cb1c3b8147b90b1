import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const ms = (minimum: number, maximum: number, byDefault: number, description: string) =>
  Type.Integer({ minimum, maximum, default: byDefault, description: `ms, ${minimum} to ${maximum}: ${description}` })
const count = (minimum: number, maximum: number, byDefault: number, description: string) =>
  Type.Integer({ minimum, maximum, default: byDefault, description: `${description}, ${minimum} to ${maximum}` })

/** Settings of what agents begin by themselves. */
export const ProactiveConfigSchema = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'false: no pattern is looked for, and agents begin nothing by themselves' }),
    lookMs: ms(50, DAY_MS, 30_000, 'patterns across alerts and certificates are looked for so often'),
    trendLookMs: ms(50, DAY_MS, 10 * MINUTE_MS, 'and trends of readings so often: each asks the series store once per device and limit'),
    leaseMs: ms(200, DAY_MS, 2 * MINUTE_MS, 'a process that did not look for so long is replaced by another'),
    overMs: ms(0, DAY_MS, 15 * MINUTE_MS, 'a pattern is over when it was not seen for so long'),
    alertsMax: count(100, 200_000, 20_000, 'alerts of one look; of more, the newest'),
    expiriesMax: count(10, 100_000, 10_000, 'certificates of one look, those that end first'),
    trendsMax: count(1, 100_000, 2_000, 'trends of one look'),
    rulesMax: count(1, 1_000, 100, 'rules of a tenant, those that come with the platform not counted'),
    versionsKept: count(1, 100, 20, 'versions of a rule that are kept'),
    firingsPerHourMax: count(1, 10_000, 20, 'actions that agents begin by themselves in an hour, for one tenant; what is beyond waits'),
    firingsKeptMs: ms(DAY_MS, 3_650 * DAY_MS, 365 * DAY_MS, 'what was begun, and what people said of it, is kept for so long'),
  },
  { additionalProperties: false, default: {} },
)
export type ProactiveConfig = Static<typeof ProactiveConfigSchema>

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckProactiveConfig(config: ProactiveConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const atLeast = (key: 'leaseMs' | 'trendLookMs', least: number, other: string): void => {
    if (config[key] >= least) return
    faults.push({ key: `${section}.${key}`, problem: `${config[key]} is less than ${other}`, allowed: `at least ${least}` })
  }
  atLeast('leaseMs', 2 * config.lookMs, 'twice lookMs')
  atLeast('trendLookMs', config.lookMs, 'lookMs')
  return faults
}
