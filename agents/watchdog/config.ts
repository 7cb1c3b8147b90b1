import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const ms = (minimum: number, maximum: number, byDefault: number, description: string) =>
  Type.Integer({ minimum, maximum, default: byDefault, description: `ms, ${minimum} to ${maximum}: ${description}` })

/** Settings of whatever watches the platform itself. */
export const WatchdogConfigSchema = Type.Object(
  {
    pulseMs: ms(100, 600_000, 10_000, 'each process writes down so often how it is'),
    lookMs: ms(50, 600_000, 10_000, 'the watchdog looks so often at what they wrote'),
    leaseMs: ms(200, DAY_MS, 30_000, 'a watchdog that did not look for so long is replaced by that of another process'),
    troubleMs: ms(0, DAY_MS, 20_000, 'what is wrong for less is not told'),
    wellMs: ms(0, DAY_MS, 2 * MINUTE_MS, 'a trouble is over when it was not seen for so long: what comes and goes is one trouble'),
    silentMs: ms(500, DAY_MS, MINUTE_MS, 'a process whose pulse did not change for so long is not heard of'),
    forgetMs: ms(1_000, 30 * DAY_MS, DAY_MS, 'a process that is not heard of for so long was taken away, and is no trouble any more'),
    lagMessagesMax: Type.Integer({
      minimum: 10,
      maximum: 1_000_000_000,
      default: 100_000,
      description: 'messages, 10 to 1000 million, that a consumer group may be behind; it is well again at half of that',
    }),
    deadLettersMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 10,
      description: 'dead letters of one topic, 1 to a million, within deadLettersMs; it is well again when none comes',
    }),
    deadLettersMs: ms(1_000, DAY_MS, 10 * MINUTE_MS, 'over which dead letters are counted'),
    trainingStuckMs: ms(1_000, 7 * DAY_MS, 60 * MINUTE_MS, 'a training without any progress for so long is stuck'),
    clockSkewMs: ms(100, 3_600_000, 30_000, 'that the clock of a process may be off; it is well again at half of that'),
  },
  { additionalProperties: false, default: {} },
)
export type WatchdogConfig = Static<typeof WatchdogConfigSchema>

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckWatchdogConfig(config: WatchdogConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const atLeast = (key: keyof WatchdogConfig, least: number, other: string): void => {
    if (config[key] >= least) return
    faults.push({ key: `${section}.${key}`, problem: `${config[key]} is less than ${other}`, allowed: `at least ${least}` })
  }
  atLeast('silentMs', 2 * config.pulseMs, 'twice pulseMs')
  atLeast('leaseMs', 2 * config.lookMs, 'twice lookMs')
  atLeast('forgetMs', config.silentMs, 'silentMs')
  return faults
}
