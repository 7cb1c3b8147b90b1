import type { CauseCode } from '../../agents/causes/catalogue.ts'
import type { ClaimOp } from '../../agents/summary/claim.ts'
import type { GapCode } from '../../agents/summary/investigation.ts'
import { AnomalyOperator } from '../../anomaly/anomaly-operator.ts'
import { AnomalyConfigSchema, type AnomalyConfig } from '../../anomaly/config.ts'
import type { Anomaly, AnomalyCause } from '../../contracts/anomaly.ts'
import type { Incident } from '../../contracts/incident.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { gaussian, integerBetween, seededRandom, type Random } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { PROFILES, valueAt, type DeviceProfile, type Fault, type FaultKind, type MetricProfile } from '../../simulators/device-profiles.ts'
import type { DigestWorld, Told } from './digest-world.ts'

export const FAMILIES = [
  ...(['spike', 'level-shift', 'stuck', 'drift', 'noise', 'oscillation', 'silence', 'power', 'common-mode', 'firmware', 'config'] as const),
  ...(['maintenance', 'clock', 'tamper', 'certificate', 'impersonation', 'early', 'young', 'blind', 'healthy'] as const),
] as const
/** Of the first ones five each, of the rest two. */
export const FAULT_FAMILIES = 12
export type Family = (typeof FAMILIES)[number]

/** What digests are held to: every family, with seeds from 1. */
export function goldenScenarios(): { family: Family; seed: number }[] {
  return FAMILIES.flatMap((family, index) => [1, 2, 3, 4, 5].slice(0, index < FAULT_FAMILIES ? 5 : 2).map((seed) => ({ family, seed })))
}

/** What the simulator knows, and no check does. */
export interface Expected {
  /** Null: nothing can be said, and nothing may be. */
  cause: CauseCode | null
  /** Claims of which each must be stated; of a list, one. */
  must: ClaimOp[][]
  /** Never said. */
  mustNot: ClaimOp[]
  gaps: GapCode[]
}

export interface Scenario {
  family: Family
  seed: number
  tenant: string
  device: string
  incident: Incident
  asOf: number
  expected: Expected
  /** The metric that the fault befell. */
  metric: string
  /** What the device sent until then, oldest first. */
  sent: { ts: number; receivedAt: number; values: Readonly<Record<string, number>> }[]
}

const T0 = 1_763_683_200_000
const INTERVAL_MS = 4_000
const USUAL = 300
const AFTER = 90
const OTHERS = 2

const anomalyConfig = ((): AnomalyConfig => {
  const result = compileSchema(AnomalyConfigSchema)({})
  if (result.status === 'invalid') throw new TypeError('defaults')
  return result.value
})()

interface Plan {
  expected: Omit<Expected, 'mustNot' | 'gaps'> & Partial<Expected>
  fault?: FaultKind | 'oscillation'
  /** The fault befalls everybody. */
  shared?: boolean
  usual?: number
  after?: number
  cause?: AnomalyCause
}

const VALUE: ClaimOp[][] = [['onset'], ['observed'], ['alerts'], ['devices'], ['usual']]
const OFF: ClaimOp[] = ['silent_for', 'firmware_changes', 'config_changes', 'maintenance', 'findings', 'rejected_time', 'rejected_content']

const PLANS: Record<Family, Plan> = {
  spike: { fault: 'spike', expected: { cause: 'sensor_fault.spike', must: [...VALUE, ['peak']], mustNot: OFF } },
  'level-shift': { fault: 'level-shift', expected: { cause: 'process.level_shift', must: [...VALUE, ['shift']], mustNot: OFF } },
  stuck: { fault: 'stuck', expected: { cause: 'sensor_fault.flatline', must: [['onset'], ['longest_same']], mustNot: OFF } },
  drift: {
    fault: 'drift',
    after: 150,
    expected: { cause: 'sensor_fault.drift', must: [...VALUE, ['shift', 'trend_spreads']], mustNot: OFF },
  },
  noise: { fault: 'noise', expected: { cause: 'sensor_fault.noise', must: [...VALUE, ['width_ratio']], mustNot: OFF } },
  oscillation: { fault: 'oscillation', expected: { cause: 'process.oscillation', must: [...VALUE, ['width_ratio']], mustNot: OFF } },
  silence: {
    cause: 'silence',
    expected: { cause: 'connectivity.gap', must: [['silent_for'], ['usual_gap'], ['alerts']], mustNot: ['peak', 'shift'] },
  },
  power: { cause: 'silence', expected: { cause: 'power.low', must: [['silent_for'], ['shift']], mustNot: ['firmware_changes'] } },
  'common-mode': {
    fault: 'level-shift',
    shared: true,
    expected: { cause: 'environment.common_mode', must: [...VALUE, ['together']], mustNot: OFF },
  },
  firmware: {
    fault: 'level-shift',
    expected: { cause: 'firmware.regression', must: [...VALUE, ['firmware_changes']], mustNot: ['config_changes'] },
  },
  config: {
    fault: 'level-shift',
    expected: { cause: 'config.change', must: [...VALUE, ['config_changes']], mustNot: ['firmware_changes'] },
  },
  maintenance: {
    fault: 'level-shift',
    expected: { cause: 'maintenance.window', must: [...VALUE, ['maintenance']], mustNot: ['firmware_changes'] },
  },
  clock: {
    cause: 'silence',
    expected: { cause: 'pipeline.clock_skew', must: [['silent_for'], ['rejected_time']], mustNot: ['rejected_content'] },
  },
  tamper: {
    cause: 'silence',
    expected: { cause: 'security.payload_tamper', must: [['silent_for'], ['rejected_content']], mustNot: ['rejected_time'] },
  },
  certificate: {
    cause: 'security',
    expected: { cause: 'security.cert_anomaly', must: [['onset'], ['findings']], mustNot: ['peak', 'shift', 'shared_identity'] },
  },
  impersonation: {
    cause: 'security',
    expected: { cause: 'security.impersonation', must: [['onset'], ['shared_identity']], mustNot: ['peak'] },
  },
  early: {
    fault: 'level-shift',
    after: 3,
    expected: { cause: null, must: [['onset'], ['observed']], mustNot: OFF, gaps: ['few_readings'] },
  },
  young: {
    fault: 'level-shift',
    usual: 20,
    expected: { cause: null, must: [['onset']], mustNot: [...OFF, 'shift', 'peak'], gaps: ['young_device'] },
  },
  blind: {
    fault: 'level-shift',
    expected: { cause: null, must: [['onset'], ['observed']], mustNot: ['peak', 'shift', 'silent_for'], gaps: ['check_failed'] },
  },
  healthy: { expected: { cause: null, must: [['onset']], mustNot: [...OFF, 'shift'], gaps: ['only_alert_seen'] } },
}

/** Readings that a fault lasts, where it does not last to the end. */
const SPIKE_READINGS = 4
/** A swing of a process is seen within so many readings. */
const SWING_READINGS = 24
const BATTERY = { level: 3.7, noise: 0.004, fall: 0.25, from: 75 }

/** One scenario from its family and seed: a small fleet of one type, a fault, and what the detector says of it. */
export async function tellScenario(world: DigestWorld, family: Family, seed: number): Promise<Scenario> {
  const plan = PLANS[family]
  const random = seededRandom(`${family}-${seed}`)
  const profile = PROFILES[seed % PROFILES.length] as DeviceProfile
  const names = Object.keys(profile.metrics)
  const metric = names[integerBetween(random, 0, names.length - 1)] as string
  const tenant = `g-${family}-${seed}`
  const device = `${profile.type}-${seed}`
  const usual = plan.usual ?? USUAL
  // A day of its own: the store then passes over the blocks of the others.
  const startMs = T0 + (FAMILIES.indexOf(family) * 10 + seed) * 86_400_000
  const faultTs = startMs + usual * INTERVAL_MS
  const fleet = [device, ...Array.from({ length: OTHERS }, (_, i) => `${profile.type}-other-${i}`)]
  await world.type(tenant, profile)
  for (const name of fleet) await world.device(tenant, name, profile.type)
  const readings = fleet.flatMap((name) =>
    readingsOf({
      plan,
      family,
      profile,
      metric,
      tenant,
      device: name,
      isFaulty: plan.shared === true || name === device,
      usual,
      startMs,
      random,
    }),
  )
  const own = readings.filter((reading) => reading.device === device)
  const anomaly = anomalyOf({ plan, family, own, tenant, device, profile, metric, faultTs, random })
  const openedAt = anomaly.receivedAt + 50
  const asOf = asOfOf(plan, family, anomaly, own)
  const companions = plan.shared === true ? fleet.slice(1).map((name, i) => ({ device: name, at: openedAt + i })) : []
  const told: Told = { tenant, readings: readings.filter(({ receivedAt }) => receivedAt <= asOf), anomaly, openedAt, companions }
  await surround(world, family, tenant, device, openedAt)
  const incident = await world.tell(told)
  const sent = told.readings.filter((reading) => reading.device === device) as Scenario['sent']
  return { family, seed, tenant, device, incident, asOf, metric, sent, expected: { mustNot: [], gaps: [], ...plan.expected } }
}

type Row = Told['readings'][number]

interface Making {
  plan: Plan
  family: Family
  profile: DeviceProfile
  metric: string
  tenant: string
  device: string
  isFaulty: boolean
  usual: number
  startMs: number
  random: Random
}

function readingsOf({ plan, family, profile, metric, tenant, device, isFaulty, usual, startMs, random }: Making): Row[] {
  const count = usual + (plan.cause === undefined ? (plan.after ?? AFTER) + 10 : isFaulty ? 0 : 60)
  const faultTs = startMs + usual * INTERVAL_MS
  const lasts = plan.fault === 'spike' ? SPIKE_READINGS : (plan.after ?? AFTER) + 10
  const fault =
    plan.fault === undefined || plan.fault === 'oscillation'
      ? undefined
      : { device, metric, kind: plan.fault, fromTs: faultTs, toTs: faultTs + lasts * INTERVAL_MS }
  const phase = random.next() * 2 * Math.PI
  return Array.from({ length: count }, (_, i) => {
    const ts = startMs + i * INTERVAL_MS
    const values: Record<string, number> = {}
    for (const [name, shape] of Object.entries(profile.metrics)) {
      values[name] = valueOf(shape, phase, ts, isFaulty && name === metric ? fault : undefined, random)
      if (plan.fault === 'oscillation' && isFaulty && name === metric && ts >= faultTs) values[name] += swing(shape, ts - faultTs)
    }
    if (family === 'power') values.battery_voltage = batteryAt(i, usual, isFaulty, random)
    return { tenant, device, type: profile.type, ts, receivedAt: ts + 40 + Math.floor(random.next() * 20), values }
  })
}

function valueOf(shape: MetricProfile, phase: number, ts: number, fault: Fault | undefined, random: Random): number {
  return valueAt(shape, phase, ts, fault !== undefined && ts >= fault.fromTs && ts < fault.toTs ? fault : undefined, random)
}

function swing({ noise, swing: usual }: MetricProfile, sinceMs: number): number {
  return 8 * (noise + usual / 2) * Math.sin((2 * Math.PI * sinceMs) / (SWING_READINGS * INTERVAL_MS))
}

function batteryAt(i: number, usual: number, isFaulty: boolean, random: Random): number {
  const low = isFaulty ? Math.max(0, (i - (usual - BATTERY.from)) / BATTERY.from) * BATTERY.fall : 0
  return Number((BATTERY.level - low + BATTERY.noise * gaussian(random)).toFixed(3))
}

interface Seen {
  plan: Plan
  family: Family
  own: Row[]
  tenant: string
  device: string
  profile: DeviceProfile
  metric: string
  faultTs: number
  random: Random
}

/** What the real detector raises of these readings; where it raises nothing, or nothing of readings is meant, what its station would say. */
function anomalyOf(seen: Seen): Anomaly {
  const { plan, own, tenant, device, profile, metric, faultTs, family } = seen
  const raised: Anomaly[] = []
  const operator = new AnomalyOperator({ config: anomalyConfig, silenceAfterMs: () => null, metrics: new Metrics() })
  const state = operator.create(tenant, device, profile.type)
  const out = {
    emit: (_topic: string, _schema: string, _tenant: string, _device: string, value: object) => void raised.push(value as Anomaly),
  }
  const isOfReadings = plan.fault !== undefined || plan.cause === 'silence'
  for (const [offset, reading] of isOfReadings ? own.entries() : []) {
    const values = plan.cause === 'silence' ? reading.values : { [metric]: reading.values[metric] as number }
    operator.apply(state, { ...reading, values, partition: 0, offset, correlationId: 'c' }, out)
  }
  if (plan.cause === 'silence')
    for (let wait = 0; wait < 600_000 && !raised.some(({ cause }) => cause === 'silence'); wait += 1_000)
      operator.tick(state, (own.at(-1) as Row).receivedAt + wait, out)
  const wanted = plan.cause === 'silence' ? 'silence' : 'value'
  const found = raised.find(({ cause, phase, ts }) => cause === wanted && phase === 'raised' && (wanted === 'silence' || ts >= faultTs))
  return { ...(found ?? said(seen)), id: `anomaly-${tenant}`, partition: 0, offset: found === undefined && family !== 'young' ? -1 : 0 }
}

function said({ plan, family, own, tenant, device, profile, metric, faultTs, random }: Seen): Anomaly {
  const at = own.findIndex(({ ts }) => ts >= faultTs + (family === 'healthy' ? 60 : 1) * INTERVAL_MS)
  const reading = (own[at] ?? own.at(-1)) as Row
  const isValue = plan.cause === undefined
  const observed = isValue ? (reading.values[metric] as number) : null
  const expected = isValue ? (profile.metrics[metric] as MetricProfile).level : null
  return {
    ...{ id: '', tenant, device, type: profile.type, metric: isValue ? metric : 'key-weak', cause: plan.cause ?? 'value', ts: reading.ts },
    ...{ receivedAt: reading.receivedAt, phase: 'raised', score: 0.7 + 0.1 * random.next(), severity: 'warning' },
    explanation: {
      ...{ text: 'said by the scenario', observed, expected, low: null, high: null, contributions: [{ part: 'level', weight: 0.5 }] },
      ...{ detector: 'scenario', detectorVersion: 1, parameters: {}, readingsSeen: at },
    },
    ...{ partition: 0, offset: -1, correlationId: 'c' },
  }
}

function asOfOf(plan: Plan, family: Family, anomaly: Anomaly, own: readonly Row[]): number {
  if (plan.cause === 'silence') return anomaly.receivedAt + 2_000
  if (plan.cause !== undefined) return anomaly.receivedAt + 500
  const since = family === 'early' ? 4 : (plan.after ?? AFTER)
  const last = own.filter(({ ts }) => ts <= anomaly.ts + since * INTERVAL_MS).at(-1) as Row
  return last.receivedAt + 500
}

async function surround(world: DigestWorld, family: Family, tenant: string, device: string, openedAt: number): Promise<void> {
  const minutes = (count: number): number => openedAt - count * 60_000
  // A day before: nothing to do with it.
  await world.audited(tenant, minutes(1_440), 'firmware.install', device)
  if (family === 'firmware') await world.audited(tenant, minutes(6), 'firmware.install', device)
  if (family === 'config') await world.audited(tenant, minutes(4), 'twin.update', device)
  if (family === 'maintenance') await world.maintained(tenant, device, minutes(30), minutes(-30))
  if (family === 'certificate') await world.found(tenant, device, 'key-weak', minutes(1))
  if (family === 'impersonation') await world.found(tenant, device, 'key-shared', minutes(1))
  const reasons = family === 'clock' ? { 'too-far-in-future': 40 } : family === 'tamper' ? { undecodable: 30, 'bad-value': 20 } : {}
  await world.counted(tenant, device, openedAt, { stored: 120, reasons })
}
