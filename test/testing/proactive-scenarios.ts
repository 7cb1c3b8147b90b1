import type { AlertFact, DomainFacts, ExpiryFact, LimitFact, TrendPoint } from '../../agents/proactive/domain-facts.ts'
import { integerBetween, type Random } from '../../kernel/random.ts'
import { PROFILES, valueAt, type Fault, type MetricProfile } from '../../simulators/device-profiles.ts'

/*
 * Fleets in which something is going on, or only seems to be. The generator knows which, and what the rules are asked to say of it; it shares
 * nothing with them but the shape of the facts.
 */

export const NOW = 1_763_683_200_000
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

export interface ProactiveScenario {
  family: string
  facts: DomainFacts
  /** `RULE KEY` of what must be begun. */
  must: string[]
  /** What is true as well, and may be begun or not. */
  may: string[]
}

const TYPES = ['pump', 'meter', 'fan'] as const
const CAUSES = ['value', 'silence', 'rule'] as const
const METRICS = ['pressure', 'flow', ''] as const
interface Member {
  device: string
  type: string
  labels: { firmware: string; site: string }
}

const NOTHING: DomainFacts = {
  tenants: async () => ['default'],
  alerts: async (_tenant, fromMs) => ({ items: [], fromMs }),
  expiries: async () => [],
  devices: async () => [],
  limits: async () => [],
  means: async () => [],
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[integerBetween(random, 0, from.length - 1)] as T
}

function shuffled<T>(random: Random, from: readonly T[]): T[] {
  return from
    .map((each) => ({ each, at: random.next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ each }) => each)
}

/** A fleet, and alerts now and then: every fleet has them. */
class Fleet {
  readonly members: Member[]
  readonly alerts: AlertFact[] = []
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
    const sites = integerBetween(random, 3, 8)
    this.members = Array.from({ length: integerBetween(random, 60, 400) }, (_, i) => {
      const type = pick(random, TYPES)
      return {
        device: `d-${i}`,
        type,
        labels: { firmware: `${type}-${integerBetween(random, 1, 3)}`, site: `s${integerBetween(random, 1, sites)}` },
      }
    })
    const perDay = 0.05 + 0.75 * random.next()
    for (const member of this.members) {
      for (let ago = -Math.log(1 - random.next()) / perDay; ago < 2; ago += -Math.log(1 - random.next()) / perDay)
        this.raise(member, pick(random, CAUSES), pick(random, METRICS), NOW - ago * DAY_MS)
    }
  }

  raise({ device, type, labels }: Member, cause: string, metric: string, openedAt: number): void {
    this.alerts.push({ id: `a${this.alerts.length}`, device, type, cause, metric, labels, openedAt: Math.floor(openedAt) })
  }

  /** The same alert at these, within so many minutes until now. */
  befall(members: readonly Member[], cause: string, metric: string, minutes: number): void {
    for (const member of members) this.raise(member, cause, metric, NOW - 1 - this.#random.next() * minutes * MINUTE_MS)
  }

  facts(): DomainFacts {
    const newest = this.alerts.toSorted((a, b) => b.openedAt - a.openedAt)
    return { ...NOTHING, alerts: async (_tenant, fromMs) => ({ items: newest.filter(({ openedAt }) => openedAt >= fromMs), fromMs }) }
  }
}

const byType = (cause: string, metric: string, type: string): string => `same-cause-by-type ${JSON.stringify([cause, metric, type])}`
const byFirmware = (cause: string, metric: string, firmware: string): string =>
  `same-cause-by-firmware ${JSON.stringify([cause, metric, firmware])}`

type Make = (random: Random) => Omit<ProactiveScenario, 'family'>

/** Of alerts: what goes on in a fleet. */
function ofFleet(befall: (fleet: Fleet, random: Random) => { must?: string[]; may?: string[] }): Make {
  return (random) => {
    const fleet = new Fleet(random)
    const { must = [], may = [] } = befall(fleet, random)
    return { facts: fleet.facts(), must, may }
  }
}

interface Way {
  /** What befalls the metric over the time that is looked at. */
  fault?: 'drift' | 'level-shift' | 'noise'
  away?: boolean
  dailySwing?: boolean
  /** Days from now until the limit would be reached. */
  daysLeft: [number, number]
  isTrue: boolean
}

function ofReadings({ fault, away = false, dailySwing = false, daysLeft, isTrue }: Way): Make {
  return (random) => {
    const [name, profile] = pick<[string, MetricProfile]>(
      random,
      PROFILES.flatMap(({ metrics }) => Object.entries(metrics)),
    )
    const wide: MetricProfile = { ...profile, spec: { ...profile.spec, min: -1e9, max: 1e9 }, decimals: 6 }
    const lookBackMs = 2 * DAY_MS
    const spread = profile.noise + profile.swing / 2
    // The simulator's drift goes eight spreads in its time.
    const driftMs = (1 + 3 * random.next()) * DAY_MS
    const perDay = (8 * spread * DAY_MS) / driftMs
    const [least, most] = daysLeft
    const isAbove = random.next() < 0.5
    const from = fault === 'level-shift' ? NOW - (0.2 + 0.6 * random.next()) * lookBackMs : NOW - lookBackMs
    const befalls: Fault | undefined =
      fault === undefined ? undefined : { device: 'd', metric: name, kind: fault, fromTs: from, toTs: from + driftMs }
    const sign = isAbove === away ? -1 : 1
    const phase = random.next() * 2 * Math.PI
    const valueOf = (ts: number): number => {
      const plain = valueAt(wide, phase, ts, befalls !== undefined && ts >= befalls.fromTs ? befalls : undefined, random) - profile.level
      const day = dailySwing ? 5 * spread * Math.sin((2 * Math.PI * ts) / DAY_MS + phase) : 0
      return profile.level + sign * plain + day
    }
    const here = fault === 'drift' ? profile.level + (sign * perDay * lookBackMs) / DAY_MS : profile.level
    const ahead = (fault === 'drift' ? perDay : 3 * spread) * (least + (most - least) * random.next())
    const raise = here + (isAbove ? 1 : -1) * ahead
    const limit: LimitFact = { metric: name, is: isAbove ? 'above' : 'below', raise, matchers: [], rule: 'r1' }
    const means = async ({ fromMs, toMs, intervalMs }: Parameters<DomainFacts['means']>[0]): Promise<TrendPoint[]> => {
      const points: TrendPoint[] = []
      for (let ts = fromMs; ts < toMs; ts += intervalMs) {
        // Devices are not always there.
        if (random.next() < 0.05) continue
        let sum = 0
        for (let i = 0; i < 6; i++) sum += valueOf(ts + (i * intervalMs) / 6)
        points.push({ ts, value: sum / 6 })
      }
      return points
    }
    const facts: DomainFacts = {
      ...NOTHING,
      devices: async () => [{ device: 'd', type: 'pump', labels: {} }],
      limits: async () => [limit],
      means,
    }
    return { facts, must: isTrue ? [`drift-to-limits ${JSON.stringify(['d', name, limit.is, raise])}`] : [], may: [] }
  }
}

function ofCertificates(make: (random: Random) => { expiries: ExpiryFact[]; isTrue: boolean }): Make {
  return (random) => {
    const { expiries, isTrue } = make(random)
    return { facts: { ...NOTHING, expiries: async () => expiries }, must: isTrue ? ['certificates-ending fleet'] : [], may: [] }
  }
}

function certificates(random: Random, count: number, daysLeft: [number, number], renewDaysAgo: number): ExpiryFact[] {
  return Array.from({ length: count }, (_, i) => ({
    device: `d-${i}-${renewDaysAgo}`,
    serial: `${i}${renewDaysAgo}`,
    notAfter: NOW + (daysLeft[0] + (daysLeft[1] - daysLeft[0]) * random.next()) * DAY_MS,
    renewAt: NOW - renewDaysAgo * DAY_MS,
  }))
}

/** What is going on, by name. Of those that begin with `only` nothing may be begun. */
export const PROACTIVE_FAMILIES: Readonly<Record<string, Make>> = {
  'a firmware that is bad': ofFleet((fleet, random) => {
    const { type, labels } = pick(random, fleet.members)
    const [cause, metric] = [pick(random, CAUSES), pick(random, METRICS)]
    const those = fleet.members.filter((member) => member.labels.firmware === labels.firmware)
    const befallen = shuffled(random, those).slice(0, integerBetween(random, 7, 40))
    fleet.befall(befallen, cause, metric, integerBetween(random, 5, 100))
    if (befallen.length < 7) return { may: [byFirmware(cause, metric, labels.firmware), byType(cause, metric, type)] }
    return { must: [byFirmware(cause, metric, labels.firmware)], may: [byType(cause, metric, type)] }
  }),
  'a type of device, whatever its firmware': ofFleet((fleet, random) => {
    const type = pick(random, TYPES)
    const [cause, metric] = [pick(random, CAUSES), pick(random, METRICS)]
    const those = fleet.members.filter((member) => member.type === type)
    fleet.befall(shuffled(random, those).slice(0, integerBetween(random, 8, 50)), cause, metric, 25)
    const may = [1, 2, 3].map((number) => byFirmware(cause, metric, `${type}-${number}`))
    return { must: [byType(cause, metric, type)], may }
  }),
  'a device that wears out': ofFleet((fleet, random) => {
    const member = pick(random, fleet.members)
    for (let i = integerBetween(random, 8, 20); i > 0; i--) fleet.befall([member], pick(random, CAUSES), pick(random, METRICS), 115)
    return { must: [`alarm-rate ${member.device}`] }
  }),
  'only a quiet day': ofFleet(() => ({})),
  'only a few devices at once': ofFleet((fleet, random) => {
    const { labels } = pick(random, fleet.members)
    const those = fleet.members.filter((member) => member.labels.firmware === labels.firmware)
    // With one that had it by chance it is still no five, as a rule.
    fleet.befall(shuffled(random, those).slice(0, 3), 'security', '', 25)
    return {}
  }),
  'only a device that was always noisy': ofFleet((fleet, random) => {
    const member = pick(random, fleet.members)
    for (let i = 0; i < 2 * 48; i++) fleet.befall([member], pick(random, CAUSES), pick(random, METRICS), 2 * 24 * 60)
    return {}
  }),
  'only a site without power': ofFleet((fleet, random) => {
    const { site } = pick(random, fleet.members).labels
    const those = fleet.members.filter((member) => member.labels.site === site)
    // Where nearly all that is there is of one type, nobody could tell.
    const ofOne = Math.max(...TYPES.map((type) => those.filter((member) => member.type === type).length))
    const fitting =
      ofOne < 0.45 * those.length ? those : TYPES.flatMap((type) => fleet.members.filter((member) => member.type === type).slice(0, 8))
    fleet.befall(fitting, 'silence', '', 20)
    return {}
  }),
  'only the same alert all over the fleet for days': ofFleet((fleet, random) => {
    const [cause, metric] = [pick(random, CAUSES), pick(random, METRICS)]
    for (const member of fleet.members) if (random.next() < 0.8) fleet.befall([member], cause, metric, 2 * 24 * 60)
    return {}
  }),
  'certificates that nobody renews': ofCertificates((random) => ({
    expiries: certificates(random, integerBetween(random, 10, 200), [0, 13.9], 1 + 9 * random.next() + 0.01),
    isTrue: true,
  })),
  'only certificates that are due just now, or end later': ofCertificates((random) => ({
    expiries: [
      ...certificates(random, 300, [2, 13], 0.5 * random.next()),
      ...certificates(random, 300, [14.1, 60], 5),
      ...certificates(random, 9, [1, 13], 4),
    ],
    isTrue: false,
  })),
  'a drift that reaches its limit': ofReadings({ fault: 'drift', daysLeft: [0.3, 6], isTrue: true }),
  'only a drift that would take weeks': ofReadings({ fault: 'drift', daysLeft: [9, 30], isTrue: false }),
  'only a drift away from the limit': ofReadings({ fault: 'drift', away: true, daysLeft: [0.5, 5], isTrue: false }),
  'only a jump': ofReadings({ fault: 'level-shift', daysLeft: [4, 9], isTrue: false }),
  'only noise': ofReadings({ fault: 'noise', daysLeft: [0.3, 4], isTrue: false }),
  'only a healthy metric': ofReadings({ daysLeft: [0.3, 4], isTrue: false }),
  'only day and night': ofReadings({ dailySwing: true, daysLeft: [2, 6], isTrue: false }),
}

export function proactiveScenario(family: string, random: Random): ProactiveScenario {
  const make = PROACTIVE_FAMILIES[family]
  if (make === undefined) throw new TypeError(`there is no family ${family}`)
  return { family, ...make(random) }
}
