import { createHash } from 'node:crypto'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { EvidenceReading, EvidenceWindow } from '../../contracts/evidence.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { RuleSettings } from './rule.ts'
import type { JudgedWindow, Said, SeenReading } from './rule-track.ts'

/** Of how rules are judged: raised when the same readings and rule would say something else. */
const VERSION = 1
const ID_CHARS = 32

/** What a rule says of a device. */
export interface RuleStatement {
  tenant: string
  device: string
  type: string
  rule: { id: string; version: number; settings: RuleSettings }
  said: Said
  /** Event time, epoch ms. */
  ts: number
  /** Judged: the value since which it is broken and the latest one; one, where these are the same. None of rules on windows. */
  readings: readonly SeenReading[]
  window: JudgedWindow | null
  /** Why it is over where no value says so. */
  because?: string
  /** The message that brought it; -1 where it was time alone. */
  at: { partition: number; offset: number; receivedAt: number; correlationId: string }
}

/** The same reading of the same log and rule gives the same message, however often it is processed. */
export function ruleAnomaly(statement: RuleStatement): Anomaly {
  const { tenant, device, type, rule, said, ts, at } = statement
  const { settings } = rule
  const { metric, severity, name, summary, remedy } = settings
  const isRaised = said === 'raised' || said === 'repeated'
  return {
    id: idOf(statement),
    ...{ tenant, device, type, metric, cause: 'rule', ts, receivedAt: at.receivedAt },
    phase: isRaised ? 'raised' : 'cleared',
    score: isRaised ? 1 : 0,
    severity,
    explanation: {
      text: textOf(statement),
      observed: observedOf(statement),
      expected: null,
      ...boundsOf(settings),
      contributions: isRaised ? [{ part: name, weight: 1 }] : [],
      detector: 'rule',
      detectorVersion: VERSION,
      parameters: parametersOf(rule),
      readingsSeen: 0,
    },
    ...{ partition: at.partition, offset: at.offset, correlationId: at.correlationId },
    evidence: {
      readings: statement.readings.map((reading): EvidenceReading => ({ device, metric, topic: TOPICS.readings, ...reading })),
      window: windowOf(statement),
      versions: { detector: 'rule', detectorVersion: VERSION, rule: rule.id, ruleVersion: rule.version },
    },
    rule: { id: rule.id, version: rule.version, name, summary, remedy },
    ...(said === 'retracted' ? { retracted: true as const } : {}),
  }
}

function idOf({ tenant, device, rule, said, ts, window, at }: RuleStatement): string {
  const place = [tenant, device, rule.id, rule.version, said, ts, window?.startTs, window?.revision, at.partition, at.offset]
  return createHash('sha256').update(JSON.stringify(place)).digest('hex').slice(0, ID_CHARS)
}

function textOf(statement: RuleStatement): string {
  const { said, rule, because, window } = statement
  const { metric, on, summary, forMs } = rule.settings
  if (because !== undefined) return because
  const subject = on.kind === 'windows' ? `${on.aggregate} of ${metric} in ${on.sizeMs / 1_000} s` : metric
  const observed = window?.value ?? statement.readings.at(-1)?.value ?? 'unknown'
  const limit = `${rule.settings.is} ${String(rule.settings.raise)}${forMs === 0 ? '' : ` for ${forMs / 1_000} s`}`
  if (said === 'retracted') return `${subject} is ${observed} after a correction (revision ${window?.revision ?? 1}), no longer ${limit}`
  if (said === 'cleared') return `${subject} is ${observed}, no longer ${limit}`
  return `${summary === '' ? '' : `${summary.replace(/\.$/, '')}: `}${subject} is ${observed}, ${limit}`
}

function observedOf({ window, readings }: RuleStatement): number | null {
  const value = window?.value ?? readings.at(-1)?.value
  return typeof value === 'number' || typeof value === 'boolean' ? Number(value) : null
}

/** What would have been fine; open sides are null. */
function boundsOf({ is, raise, clear }: RuleSettings): { low: number | null; high: number | null } {
  const bound = typeof raise === 'number' ? (clear ?? raise) : null
  return { low: is === 'below' ? bound : null, high: is === 'above' ? bound : null }
}

function parametersOf({ id, version, settings }: RuleStatement['rule']): Record<string, number | string | boolean> {
  const { is, raise, clear, forMs, on } = settings
  return {
    ...{ rule: id, ruleVersion: version, is, raise, forMs },
    ...(clear === undefined ? {} : { clear }),
    ...(on.kind === 'readings' ? {} : { window: `${on.window}/${on.sizeMs}`, aggregate: on.aggregate }),
  }
}

function windowOf({ tenant, device, rule, readings, window, ts }: RuleStatement): EvidenceWindow {
  const { on, metric } = rule.settings
  if (window === null || on.kind !== 'windows') {
    return { kind: 'span', startTs: readings[0]?.ts ?? ts, endTs: ts, id: null, revision: null, aggregate: null, value: null }
  }
  const { startTs, endTs, revision, value } = window
  const id = `${tenant}/${device}/${metric}/${on.window}/${on.sizeMs}/${startTs}`
  return { kind: on.window, startTs, endTs, id, revision, aggregate: on.aggregate, value }
}
