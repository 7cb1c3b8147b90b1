import { ANOMALY } from '../../contracts/anomaly.ts'
import type { DueAt, OperatorOutput, ReadingOperator } from '../../contracts/operator.ts'
import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import { TOPICS, type TopicName } from '../../contracts/topics.ts'
import type { WindowResult } from '../../contracts/window.ts'
import type { ByteWriter } from '../../kernel/byte-stream.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { WindowsConfig } from '../windows/config.ts'
import type { RulesConfig } from './config.ts'
import { decodeDeviceRules, encodeDeviceRules, newDeviceRules, RULES_STATE_VERSION, type DeviceRules } from './device-rules.ts'
import { judgeReading, staysFine } from './reading-judge.ts'
import type { RuleSettings } from './rule.ts'
import { ruleAnomaly, type RuleStatement } from './rule-anomaly.ts'
import { planOf, type RulePlan, type Standing } from './rule-plan.ts'
import type { RuleSource } from './rules-view.ts'
import { newTrack, type RuleTrack } from './rule-track.ts'
import { judgeWindow, type HeldWindows } from './window-judge.ts'

/** Where there is no message behind it: time alone. */
const NO_PLACE = { partition: -1, offset: -1 }

/** How often a device that is out of memory is asked whether the rule it broke still holds: each time its state is read. */
const RAISED_CHECK_MS = 300_000

export interface RuleOperatorOptions {
  rules: RuleSource
  /** Labels of a device as they are now. */
  labelsOf: (tenant: string, device: string) => Readonly<Record<string, string>>
  config: Pick<RulesConfig, 'repeatMs' | 'heldWindowsMax'>
  windows: Pick<WindowsConfig, 'allowedLatenessMs' | 'outOfOrdernessMs'>
  metrics: Metrics
}

/**
 * Judges values of readings and figures of windows by the rules that people set, and says on topic `anomalies` when one is broken, goes on
 * being broken, and is over. Which version of a rule judges is decided by when a reading was received, so that a replay decides the same.
 * Stands behind the operator of windows, whose output it observes.
 */
export class RuleOperator implements ReadingOperator<DeviceRules> {
  readonly name = 'rules'
  readonly stateVersion = RULES_STATE_VERSION
  readonly #rules: RuleSource
  readonly #labelsOf: RuleOperatorOptions['labelsOf']
  readonly #repeatMs: number
  readonly #held: HeldWindows
  readonly #said

  constructor({ rules, labelsOf, config, windows, metrics }: RuleOperatorOptions) {
    this.#rules = rules
    this.#labelsOf = labelsOf
    this.#repeatMs = config.repeatMs
    this.#held = { correctableMs: windows.allowedLatenessMs + windows.outOfOrdernessMs, max: config.heldWindowsMax }
    this.#said = metrics.counter('processing_rule_statements_total', 'What rules said of devices', ['said'] as const)
  }

  create(tenant: string, device: string, type: string): DeviceRules {
    return newDeviceRules(tenant, device, type)
  }

  observe(state: DeviceRules, topic: TopicName, value: object): void {
    if (topic === TOPICS.windows && this.#rules.of(state.tenant).length > 0) state.seen.push(value as WindowResult)
  }

  apply(state: DeviceRules, reading: LoggedReading, out: OperatorOutput): void {
    state.type = reading.type
    if (state.tracks.size > 0 || this.#rules.of(state.tenant).length > 0) {
      state.receivedTo = Math.max(state.receivedTo, reading.receivedAt)
      const plan = this.#planOf(state, state.receivedTo, reading, out)
      this.#judgeWindows(state, plan, reading, out)
      for (const [metric, rules] of plan.readings) {
        const value = reading.values[metric]
        if (value !== undefined) for (const rule of rules) this.#judgeValue(state, rule, reading, value, out)
      }
    }
    state.seen.length = 0
  }

  tick(state: DeviceRules, nowMs: number, out: OperatorOutput): boolean {
    if (state.seen.length === 0 && !isAnyRaised(state)) return false
    const before = state.tracks.size
    const judged = state.seen.length > 0
    const at = { ...NO_PLACE, receivedAt: nowMs, correlationId: `rules-${state.device}-${nowMs}` }
    const plan = this.#planOf(state, Math.max(nowMs, state.receivedTo), at, out)
    this.#judgeWindows(state, plan, at, out)
    state.seen.length = 0
    return judged || state.tracks.size !== before
  }

  /** While a rule is broken: rules and labels change at any time, and whoever removed one wants to see it end. */
  dueAt(state: DeviceRules, nowMs: number): DueAt | null {
    if (state.seen.length === 0 && !isAnyRaised(state)) return null
    return { dueMs: Math.min(nowMs + RAISED_CHECK_MS, state.plan?.until ?? Infinity), sinceMs: nowMs }
  }

  encode(state: DeviceRules, into: ByteWriter): void {
    encodeDeviceRules(state, into)
  }

  decode(bytes: Uint8Array, version: number): DeviceRules {
    return decodeDeviceRules(bytes, version)
  }

  /** The rules in force for the device; what others said that are not any more is ended. */
  #planOf(state: DeviceRules, receivedAt: number, at: RuleStatement['at'], out: OperatorOutput): RulePlan {
    const { tenant, device, type, plan } = state
    const { generation } = this.#rules
    const labels = this.#labelsOf(tenant, device)
    const isSame = plan !== null && plan.generation === generation && plan.labels === labels && plan.type === type
    if (isSame && plan.from <= receivedAt && receivedAt < plan.until) return plan
    const next = planOf(this.#rules.of(tenant), { device, type, labels }, receivedAt, generation)
    state.plan = next
    for (const [id, track] of state.tracks) {
      if (next.byId.get(id)?.settings.metric === track.metric) continue
      state.tracks.delete(id)
      if (track.raised) this.#end(state, id, track, at, out)
    }
    return next
  }

  #end(state: DeviceRules, id: string, track: RuleTrack, at: RuleStatement['at'], out: OperatorOutput): void {
    const known = this.#rules.of(state.tenant).find((rule) => rule.id === id)
    const last = known?.versions.find(({ version, settings }) => version <= track.ruleVersion && settings !== null)
    const settings: RuleSettings = last?.settings ?? { ...GONE, metric: track.metric }
    const ts = Math.max(track.lastTs, track.toldTs)
    const because = 'the rule was changed, switched off or removed, or no longer concerns this device'
    this.#say(state, { id, version: track.ruleVersion, settings }, { said: 'cleared', ts, readings: [], window: null, because, at }, out)
  }

  /** Hot path: allocates nothing while all is well. */
  #judgeValue(state: DeviceRules, rule: Standing, reading: LoggedReading, value: MetricValue, out: OperatorOutput): void {
    const track = trackOf(state, rule)
    const { ts, partition, offset } = reading
    if (staysFine(track, rule.settings, ts, value)) return
    const seen = { ts, value, partition, offset }
    const said = judgeReading(track, rule.settings, seen, this.#repeatMs)
    if (said === null) return
    const readings = track.since === null || track.since === seen ? [seen] : [track.since, seen]
    this.#say(state, rule, { said, ts, readings, window: null, at: reading }, out)
  }

  #judgeWindows(state: DeviceRules, plan: RulePlan, at: RuleStatement['at'], out: OperatorOutput): void {
    for (const window of state.seen) {
      for (const rule of plan.windows.get(window.metric) ?? []) {
        const { on } = rule.settings
        if (on.kind !== 'windows' || on.window !== window.kind || on.sizeMs !== window.sizeMs) continue
        for (const { said, window: judged } of judgeWindow(trackOf(state, rule), rule.settings, window, this.#held, this.#repeatMs)) {
          this.#say(state, rule, { said, ts: judged.endTs, readings: [], window: judged, at }, out)
        }
      }
    }
  }

  #say(state: DeviceRules, rule: Standing, of: Omit<RuleStatement, 'tenant' | 'device' | 'type' | 'rule'>, out: OperatorOutput): void {
    const { tenant, device, type } = state
    this.#said.inc({ said: of.said })
    out.emit(TOPICS.anomalies, ANOMALY, tenant, device, ruleAnomaly({ tenant, device, type, rule, ...of }))
  }
}

/** Stands for the settings of a rule of which nothing is known any more. */
const GONE: Omit<RuleSettings, 'metric'> = {
  ...{ name: 'removed rule', enabled: false, matchers: [], on: { kind: 'readings' as const }, is: 'above' as const, raise: 0 },
  ...{ forMs: 0, severity: 'warning' as const, summary: '', remedy: '' },
}

function isAnyRaised({ tracks }: DeviceRules): boolean {
  for (const track of tracks.values()) if (track.raised) return true
  return false
}

/** The rule's track; under another version what was told stands, and everything else begins anew. */
function trackOf(state: DeviceRules, { id, version, settings }: Standing): RuleTrack {
  const known = state.tracks.get(id)
  if (known?.ruleVersion === version) return known
  const fresh = newTrack(version, settings.metric)
  if (known !== undefined) {
    const { raised, lastTs, toldTs } = known
    Object.assign(fresh, { raised, lastTs, toldTs, base: { raised, sinceTs: null } })
  }
  state.tracks.set(id, fresh)
  return fresh
}
