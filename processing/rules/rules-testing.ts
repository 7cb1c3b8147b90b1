import type { Anomaly } from '../../contracts/anomaly.ts'
import type { OperatorOutput } from '../../contracts/operator.ts'
import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import type { WindowResult } from '../../contracts/window.ts'
import { Metrics } from '../../kernel/metrics.ts'
import type { Aggregate, RuleSettings } from './rule.ts'
import type { RuleDocument } from './rule-document.ts'
import { RuleOperator, type RuleOperatorOptions } from './rule-operator.ts'
import type { RuleSource } from './rules-view.ts'

export const T0 = 1_700_000_000_000

/** Pressure above 80, warning, at once, with some changed. */
export function settings(changes: Partial<RuleSettings> = {}): RuleSettings {
  return {
    ...{ name: 'too high', enabled: true, matchers: [], metric: 'pressure', on: { kind: 'readings' as const }, is: 'above' as const },
    ...{ raise: 80, forMs: 0, severity: 'warning' as const, summary: '', remedy: '', ...changes },
  }
}

export const onWindow = (aggregate: Aggregate = 'max', sizeMs = 60_000): RuleSettings['on'] => ({
  ...{ kind: 'windows', window: 'tumbling', sizeMs, aggregate },
})

/** A rule with its versions, oldest first; each begins at a time. */
export function ruleOf(id: string, ...versions: { from?: number; settings: RuleSettings | null }[]): RuleDocument {
  const numbered = versions.map(({ from = 0, settings: said }, i) => ({ version: i + 1, activeFrom: from, settings: said }))
  const state = numbered.at(-1)?.settings === null ? ('gone' as const) : ('kept' as const)
  return { id, tenant: 'default', state, versions: numbered.toReversed(), createdBy: 'a', createdAt: 0, updatedBy: 'a', updatedAt: 0 }
}

/** Rules that a test changes under way. */
export class KnownRules implements RuleSource {
  generation = 1
  #rules: readonly RuleDocument[]

  constructor(...rules: RuleDocument[]) {
    this.#rules = rules
  }
  of(tenant: string): readonly RuleDocument[] {
    return this.#rules.filter((rule) => rule.tenant === tenant)
  }
  become(...rules: RuleDocument[]): void {
    this.#rules = rules
    this.generation++
  }
}

export function ruleOperator(rules: RuleSource, changes: Partial<RuleOperatorOptions> = {}): RuleOperator {
  return new RuleOperator({
    rules,
    labelsOf: () => NO_LABELS,
    config: { repeatMs: 300_000, heldWindowsMax: 64 },
    windows: { allowedLatenessMs: 60_000, outOfOrdernessMs: 5_000 },
    metrics: new Metrics(),
    ...changes,
  })
}
const NO_LABELS = {}

/** Gathers what rules say. */
export class Statements implements OperatorOutput {
  readonly all: Anomaly[] = []
  emit(_topic: string, _schema: string, _tenant: string, _device: string, value: object): void {
    this.all.push(value as Anomaly)
  }
  /** `+` raised, `-` cleared, `x` retracted; with the time in seconds since T0. */
  get brief(): string[] {
    return this.all.map(({ phase, retracted, ts }) => `${phase === 'raised' ? '+' : retracted ? 'x' : '-'}${(ts - T0) / 1_000}`)
  }
}

/** A reading `seconds` after T0, received at that time unless told otherwise. */
export function readingAt(seconds: number, value: MetricValue | undefined, changes: Partial<LoggedReading> = {}): LoggedReading {
  const ts = T0 + seconds * 1_000
  const values: Record<string, MetricValue> = value === undefined ? { other: 1 } : { pressure: value }
  return {
    ...{ tenant: 'default', device: 'pump-1', type: 'pump', receivedAt: ts, correlationId: 'c', ts, values, partition: 0, offset: seconds },
    ...changes,
  }
}

/** The minute-th window of a minute, all of whose figures are `value`. */
export function windowAt(minute: number, value: number, revision = 1): WindowResult {
  const startTs = T0 + minute * 60_000
  return {
    ...{ id: `w${minute}`, tenant: 'default', device: 'pump-1', metric: 'pressure', kind: 'tumbling', startTs, endTs: startTs + 60_000 },
    ...{ sizeMs: 60_000, slideMs: 60_000, revision, count: 1, min: value, max: value, mean: value, stddev: 0, first: value, last: value },
    ...{ p95: value, closedBy: 'watermark' },
  }
}
